//! What the writer remembers of generations it wrote lately: key, head, and which commands they had. An event of one
//! that is under way then costs no look into the file before it is written.
//!
//! Nobody but the writer changes these, so what is remembered is what the file holds. Whoever deletes a generation says
//! so, and a transaction that fails makes it forget everything.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use protocol::{CommandId, GenerationId, Sequence};
use rusqlite::{Connection, OptionalExtension, params};

use super::{log, row::sequence};

/// A half of what is remembered, in commands: 8 MiB. Past it the older half is forgotten.
const HALF_MAX: usize = 1 << 20;

/// What a generation costs beside its commands, counted in commands of 8 bytes: its id twice and its place in a map.
const GENERATION_COST: usize = 16;

/// The memory of the writer. In two halves, so that forgetting what is old costs nothing for what is used.
#[derive(Debug, Default)]
pub(super) struct Known {
    young: HashMap<GenerationId, Generation>,
    old: HashMap<GenerationId, Generation>,
    /// What `young` costs, in commands.
    weight: usize,
    /// The place of the newest event in the log of all.
    end: Option<u64>,
}

/// A generation as the file holds it.
#[derive(Debug)]
pub(super) struct Generation {
    /// Its key inside the file.
    pub(super) id: i64,
    /// The sequence of its newest event.
    pub(super) head: Sequence,
    commands: Commands,
}

/// The commands of one generation, by a short hash, each with the sequence of its last event. Sorted.
#[derive(Debug, Default)]
struct Commands(Vec<(u32, u32)>);

impl Known {
    /// What the file holds of `generation`, from memory if it is there.
    pub(super) fn look(
        &mut self,
        connection: &Connection,
        generation: &GenerationId,
    ) -> rusqlite::Result<Option<&Generation>> {
        if !self.young.contains_key(generation) {
            let found = match self.old.remove(generation) {
                Some(found) => Some(found),
                None => read(connection, generation)?,
            };
            match found {
                Some(found) => self.keep(generation, found),
                None => return Ok(None),
            }
        }
        Ok(self.young.get(generation))
    }

    /// `command` wrote events of `generation` up to `last`.
    pub(super) fn wrote(&mut self, generation: &GenerationId, id: i64, command: &CommandId, last: Sequence) {
        if !self.young.contains_key(generation) {
            self.keep(generation, Generation { id, head: last, commands: Commands::default() });
        }
        if let Some(known) = self.young.get_mut(generation) {
            known.head = last;
            known.commands.add(command, last);
            self.weight += 1;
        }
    }

    /// The place of the newest event in the log of all.
    pub(super) fn end(&mut self, connection: &Connection) -> rusqlite::Result<u64> {
        match self.end {
            Some(end) => Ok(end),
            None => Ok(*self.end.insert(log::head(connection)?.0)),
        }
    }

    /// The log was appended to.
    pub(super) const fn set_end(&mut self, end: u64) {
        self.end = Some(end);
    }

    /// It was deleted, or ended and will hardly be written again.
    pub(super) fn forget(&mut self, generation: &GenerationId) {
        if let Some(gone) = self.young.remove(generation) {
            self.weight -= gone.weight();
        }
        self.old.remove(generation);
    }

    /// What was written since was taken back.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn keep(&mut self, generation: &GenerationId, found: Generation) {
        if self.weight >= HALF_MAX {
            self.old = std::mem::take(&mut self.young);
            self.weight = 0;
        }
        self.weight += found.weight();
        self.young.insert(generation.clone(), found);
    }
}

impl Generation {
    /// The last event `command` caused, if it was committed before. A hash that two commands share costs a look.
    pub(super) fn repeated(&self, connection: &Connection, command: &CommandId) -> rusqlite::Result<Option<Sequence>> {
        for last in self.commands.alike(command) {
            let same = connection
                .prepare_cached("SELECT command = ?3 FROM event WHERE generation = ?1 AND sequence = ?2")?
                .query_row(params![self.id, last, command.as_str()], |row| row.get(0))
                .optional()?;
            if same == Some(true) {
                return Ok(Some(Sequence(last.into())));
            }
        }
        Ok(None)
    }

    fn weight(&self) -> usize {
        GENERATION_COST + self.commands.0.len()
    }
}

impl Commands {
    fn add(&mut self, command: &CommandId, last: Sequence) {
        let entry = (short(command.as_str()), u32::try_from(last.0).unwrap_or(u32::MAX));
        let place = self.0.partition_point(|known| *known < entry);
        self.0.insert(place, entry);
    }

    fn alike(&self, command: &CommandId) -> impl Iterator<Item = u32> {
        let hash = short(command.as_str());
        let first = self.0.partition_point(|(known, _)| *known < hash);
        self.0[first..].iter().take_while(move |(known, _)| *known == hash).map(|(_, last)| *last)
    }
}

/// A part of a hash that is the same as long as this process lives, and is never stored.
#[expect(clippy::cast_possible_truncation, reason = "a part of the hash is what is wanted")]
fn short(command: &str) -> u32 {
    let mut hasher = DefaultHasher::new();
    command.hash(&mut hasher);
    hasher.finish() as u32
}

/// A generation's key, its head and all its commands, from the file.
fn read(connection: &Connection, generation: &GenerationId) -> rusqlite::Result<Option<Generation>> {
    let Some(id) = find(connection, generation)? else { return Ok(None) };
    let mut select =
        connection.prepare_cached("SELECT sequence, command FROM event WHERE generation = ?1 ORDER BY sequence")?;
    let mut rows = select.query([id])?;
    let mut head = Sequence(0);
    let mut commands: Vec<(u32, u32)> = Vec::new();
    let mut before: Option<String> = None;
    while let Some(row) = rows.next()? {
        head = sequence(row, 0)?;
        let command = row.get_ref(1)?.as_str()?;
        let last = u32::try_from(head.0).unwrap_or(u32::MAX);
        // Events of one command follow each other.
        match commands.last_mut() {
            Some(entry) if before.as_deref() == Some(command) => entry.1 = last,
            _ => {
                commands.push((short(command), last));
                before = Some(command.to_owned());
            }
        }
    }
    commands.sort_unstable();
    Ok(Some(Generation { id, head, commands: Commands(commands) }))
}

/// A generation's key inside this file.
pub(super) fn find(connection: &Connection, generation: &GenerationId) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM generation WHERE public_id = ?1")?
        .query_row([generation.as_str()], |row| row.get(0))
        .optional()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Among so many texts some two share 32 bits.
    const TEXTS: u32 = 300_000;

    #[test]
    fn commands_that_share_a_hash_are_told_apart_by_the_file() {
        let mut seen = HashMap::new();
        let (one, other) = (0..TEXTS)
            .find_map(|n| {
                let text = format!("evt_{n}");
                seen.insert(short(&text), text.clone()).map(|other| (text, other))
            })
            .unwrap();
        let file = Connection::open_in_memory().unwrap();
        file.execute_batch("CREATE TABLE event(generation INTEGER, sequence INTEGER, command TEXT)").unwrap();
        file.execute("INSERT INTO event VALUES (1, 5, ?1)", [&one]).unwrap();
        let (generation, one, other) = ("gen_a".parse().unwrap(), one.parse().unwrap(), other.parse().unwrap());
        let mut known = Known::default();
        known.wrote(&generation, 1, &one, Sequence(5));
        let found = &known.young[&generation];
        assert_eq!(found.repeated(&file, &one).unwrap(), Some(Sequence(5)));
        assert_eq!(found.repeated(&file, &other).unwrap(), None);
    }

    #[test]
    fn what_is_used_stays_and_what_is_not_is_forgotten() {
        let mut known = Known::default();
        let name = |n: usize| -> GenerationId { format!("gen_{n}").parse().unwrap() };
        let file = Connection::open_in_memory().unwrap();
        file.execute_batch("CREATE TABLE generation(id INTEGER, public_id TEXT)").unwrap();
        for n in 0..=3 * HALF_MAX / GENERATION_COST {
            known.wrote(&name(n), 1, &"evt_a".parse().unwrap(), Sequence(1));
            assert!(known.look(&file, &name(0)).unwrap().is_some(), "used with every event");
        }
        assert!(known.look(&file, &name(1)).unwrap().is_none(), "in no memory, and not in this file");
        assert!(known.weight <= HALF_MAX + GENERATION_COST + 1);
    }
}
