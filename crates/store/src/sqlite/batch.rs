//! One transaction over many changes: what a commit writes, and how it can be refused.
//!
//! Collecting changes, answering callers and telling of events is the writer's.

use std::convert::identity;

use protocol::{GenerationId, PoolName, Sequence, TenantId, Timestamp, UserId, id::uuid_v7};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    files,
    known::Known,
    lanes::{self, Weights},
    letters,
    row::{encode_body, integer, is_full, time, write_gates},
};
use crate::{Change, Charge, Claim, CommitError, Committed, QueueEntry, Row};

/// A change with its events encoded, so that the writer's thread does nothing but write.
pub(super) struct Prepared {
    pub(super) change: Change,
    bodies: Vec<Vec<u8>>,
    /// What it adds to a batch, in bytes.
    pub(super) bytes: usize,
}

impl Prepared {
    /// Encodes the events of `change`.
    pub(super) fn new(change: Change) -> Self {
        assert!(!change.events.is_empty(), "a change has at least one event");
        assert!(change.expected.0 > 0 || change.row.is_some(), "a change that creates brings the columns");
        let bodies: Vec<Vec<u8>> = change.events.iter().map(|new| encode_body(&new.event)).collect();
        let events: usize = change.events.iter().zip(&bodies).map(|(new, body)| new.fact.len() + body.len()).sum();
        let bytes = events + change.row.as_ref().map_or(0, |row| row.snapshot.len());
        Self { change, bodies, bytes }
    }
}

/// What the queue in memory must hear of a change once it is committed.
#[derive(Debug, PartialEq)]
pub(super) enum Effect {
    /// A generation's columns were written: it waits at `entry`, or for nothing.
    Moved { id: i64, generation: GenerationId, tenant: TenantId, created_at: Timestamp, entry: Option<QueueEntry> },
    /// A generation of theirs is there and has not ended.
    Began { tenant: TenantId, owner: UserId },
    /// One of them ended.
    Ended { tenant: TenantId, owner: UserId },
    /// A lane's clock went on, and maybe the pool's.
    Charged { pool: PoolName, tenant: TenantId, clock: i64, pool_clock: i64 },
}

/// How one change of a transaction went.
pub(super) struct Applied {
    pub(super) answer: Result<Committed, CommitError>,
    pub(super) effects: Vec<Effect>,
}

impl Applied {
    const fn answered(answer: Result<Committed, CommitError>) -> Self {
        Self { answer, effects: Vec::new() }
    }
}

/// What a transaction works with.
pub(super) struct Books<'a> {
    pub(super) connection: &'a Connection,
    pub(super) weights: &'a Weights,
    pub(super) known: &'a mut Known,
}

/// Applies `changes` in one transaction. `Err` means that nothing of any of them was written.
pub(super) fn transact<'a>(
    books: &mut Books<'_>,
    changes: impl Iterator<Item = &'a Prepared> + Clone,
) -> rusqlite::Result<Vec<Applied>> {
    // A savepoint copies every page that is touched in it, and is needed only where a statement fails: rarely.
    let done = match attempt(books, changes.clone(), apply) {
        Ok(Err(_)) => {
            take_back(books);
            // What fails around a savepoint is nobody's change alone: all of them hear of it.
            attempt(books, changes, apply_alone).and_then(identity)
        }
        done => done.and_then(identity),
    };
    done.inspect_err(|_| take_back(books))
}

/// The inner error is that of a statement of some change, where the transaction stands.
fn attempt<'a>(
    books: &mut Books<'_>,
    changes: impl Iterator<Item = &'a Prepared>,
    apply: impl Fn(&mut Books<'_>, &Prepared) -> rusqlite::Result<Applied>,
) -> rusqlite::Result<rusqlite::Result<Vec<Applied>>> {
    run(books.connection, "BEGIN IMMEDIATE")?;
    let mut applied = Vec::new();
    for prepared in changes {
        match apply(books, prepared) {
            Ok(one) => applied.push(one),
            // Out of room or memory SQLite may roll back everything by itself.
            Err(error) if is_full(&error) || books.connection.is_autocommit() => return Err(error),
            Err(error) => return Ok(Err(error)),
        }
    }
    run(books.connection, "COMMIT")?;
    Ok(Ok(applied))
}

/// Ends what a failure left open: the transaction would swallow the next batch.
fn take_back(books: &mut Books<'_>) {
    books.known.clear();
    if !books.connection.is_autocommit() {
        // When even this fails the next BEGIN tells.
        if let Err(error) = run(books.connection, "ROLLBACK") {
            tracing::error!(%error, "a failed transaction could not be rolled back");
        }
    }
}

/// Applies one change so that its failure leaves the others standing. `Err` when the whole transaction cannot go on.
fn apply_alone(books: &mut Books<'_>, prepared: &Prepared) -> rusqlite::Result<Applied> {
    run(books.connection, "SAVEPOINT change")?;
    let applied = match apply(books, prepared) {
        Ok(applied) => applied,
        Err(error) if books.connection.is_autocommit() => return Err(error),
        Err(error) => {
            books.known.clear();
            run(books.connection, "ROLLBACK TO change")?;
            Applied::answered(Err(refusal(&error)))
        }
    };
    run(books.connection, "RELEASE change")?;
    Ok(applied)
}

/// What a failure of the database means to the caller of a commit.
pub(super) fn refusal(error: &rusqlite::Error) -> CommitError {
    if is_full(error) { CommitError::Full } else { CommitError::Unavailable(error.to_string()) }
}

/// What a change meets in the file.
enum Met {
    /// It is answered, and nothing is written.
    Answered(Result<Committed, CommitError>),
    /// It fits: upon a generation with this key, if there is one.
    Fits(Option<i64>),
}

fn apply(books: &mut Books<'_>, prepared: &Prepared) -> rusqlite::Result<Applied> {
    let id = match meet(books, &prepared.change)? {
        Met::Answered(answer) => return Ok(Applied::answered(answer)),
        Met::Fits(id) => id,
    };
    let (connection, change) = (books.connection, &prepared.change);
    let last = Sequence(change.expected.0 + change.events.len() as u64);
    let mut effects = Vec::new();
    if let Some(charge) = &change.charge {
        effects.push(settle(connection, books.weights, id, change.row.as_ref(), charge)?);
    }
    let id = place(connection, id, change, last, &mut effects)?;
    if let Some(claim) = &change.claim {
        connection
            .prepare_cached("INSERT INTO claim(scope, key, digest, generation) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![claim.scope, claim.key, claim.digest, id])?;
    }
    append(books, id, prepared)?;
    if let Some(letter) = &change.letter {
        letters::keep(connection, id, letter)?;
    }
    if let Some(redriven) = &change.redrives {
        letters::redriven(connection, redriven, &change.generation)?;
    }
    if let Some(shares) = &change.shares {
        files::share(connection, id, shares, change.row.as_ref().map_or(Timestamp(0), |row| row.created_at))?;
    }
    if change.row.as_ref().is_some_and(|row| row.state.is_terminal()) {
        books.known.forget(&change.generation);
    } else {
        books.known.wrote(&change.generation, id, &change.command, last);
    }
    Ok(Applied { answer: Ok(Committed::New { last }), effects })
}

/// Repeats first, then claims, then the sequence; all of it before the first write.
fn meet(books: &mut Books<'_>, change: &Change) -> rusqlite::Result<Met> {
    let connection = books.connection;
    let found = books.known.look(connection, &change.generation)?;
    if let Some(found) = found
        && let Some(last) = found.repeated(connection, &change.command)?
    {
        return Ok(Met::Answered(Ok(Committed::Repeated { last })));
    }
    let (id, head) = found.map_or((None, Sequence(0)), |found| (Some(found.id), found.head));
    if let Some(claim) = &change.claim
        && let Some(held) = holder(connection, claim)?
    {
        return Ok(Met::Answered(Ok(held)));
    }
    if head != change.expected {
        return Ok(Met::Answered(Err(CommitError::Conflict { head })));
    }
    if let Some(shares) = &change.shares
        && let Some(name) = files::missing(connection, shares)?
    {
        return Ok(Met::Answered(Err(CommitError::Gone { name })));
    }
    Ok(Met::Fits(id))
}

/// Writes the columns, if the change brings any, and answers the key.
fn place(
    connection: &Connection,
    known: Option<i64>,
    change: &Change,
    last: Sequence,
    effects: &mut Vec<Effect>,
) -> rusqlite::Result<i64> {
    let id = match (known, &change.row) {
        (Some(id), None) => return Ok(id),
        (Some(id), Some(row)) => {
            if row.state.is_terminal() && !has_ended(connection, id)? {
                effects.push(Effect::Ended { tenant: row.tenant.clone(), owner: row.owner.clone() });
            }
            update(connection, id, row, last)?;
            id
        }
        (None, Some(row)) => {
            if !row.state.is_terminal() {
                effects.push(Effect::Began { tenant: row.tenant.clone(), owner: row.owner.clone() });
            }
            insert(connection, &change.generation, row, last)?
        }
        (None, None) => unreachable!("checked when the change was prepared: one that creates brings the columns"),
    };
    if let Some(row) = &change.row {
        effects.push(Effect::Moved {
            id,
            generation: change.generation.clone(),
            tenant: row.tenant.clone(),
            created_at: row.created_at,
            entry: row.queue.clone(),
        });
    }
    Ok(id)
}

fn has_ended(connection: &Connection, id: i64) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT ended_at IS NOT NULL FROM generation WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
}

fn holder(connection: &Connection, claim: &Claim) -> rusqlite::Result<Option<Committed>> {
    connection
        .prepare_cached(
            "SELECT g.public_id, c.digest FROM claim c JOIN generation g ON g.id = c.generation
             WHERE c.scope = ?1 AND c.key = ?2",
        )?
        .query_row([&claim.scope, &claim.key], |row| {
            let same = row.get_ref(1)?.as_blob()? == claim.digest;
            Ok(Committed::Claimed { generation: super::row::id(row, 0)?, same })
        })
        .optional()
}

fn append(books: &mut Books<'_>, id: i64, prepared: &Prepared) -> rusqlite::Result<()> {
    let (head, end) = (prepared.change.expected, books.known.end(books.connection)?);
    let mut insert = books.connection.prepare_cached(
        "INSERT INTO event(position, generation, sequence, command, ordinal, at, body, fact)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    let command = prepared.change.command.as_str();
    for ((new, body), ordinal) in prepared.change.events.iter().zip(&prepared.bodies).zip(0_u64..) {
        let sequence = integer(head.0 + 1 + ordinal);
        let at = integer(new.event.timestamp.0);
        let position = integer(end + 1 + ordinal);
        insert.execute(params![position, id, sequence, command, integer(ordinal), at, body, new.fact])?;
    }
    books.known.set_end(end + prepared.bodies.len() as u64);
    Ok(())
}

fn insert(connection: &Connection, generation: &GenerationId, row: &Row, sequence: Sequence) -> rusqlite::Result<i64> {
    let mut random = [0; 10];
    getrandom::fill(&mut random).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    connection
        .prepare_cached(
            "INSERT INTO generation(owner, tenant, state, pipeline, created_at, updated_at, ended_at,
                 pool, queue_order, not_before, cost_ms, gates, lease, fence, worker, node, due_at,
                 snapshot_sequence, snapshot, public_id, key)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)",
        )?
        .execute(rusqlite::params_from_iter(
            values(row, sequence)
                .into_iter()
                .chain([generation.as_str().to_owned().into(), uuid_v7(row.created_at, random).to_vec().into()]),
        ))?;
    Ok(connection.last_insert_rowid())
}

fn update(connection: &Connection, id: i64, row: &Row, sequence: Sequence) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE generation SET owner = ?1, tenant = ?2, state = ?3, pipeline = ?4, created_at = ?5,
                 updated_at = ?6, ended_at = ?7, pool = ?8, queue_order = ?9, not_before = ?10, cost_ms = ?11,
                 gates = ?12, lease = ?13, fence = ?14, worker = ?15, node = ?16, due_at = ?17,
                 snapshot_sequence = ?18, snapshot = ?19
             WHERE id = ?20",
        )?
        .execute(rusqlite::params_from_iter(values(row, sequence).into_iter().chain([id.into()])))?;
    Ok(())
}

/// The first nineteen parameters of both statements above.
fn values(row: &Row, sequence: Sequence) -> [rusqlite::types::Value; 19] {
    use rusqlite::types::Value;
    let Row { owner, tenant, state, pipeline, snapshot, created_at, updated_at, queue, lease, due_at } = row;
    let text = |text: &str| Value::from(text.to_owned());
    let queue = queue.as_ref();
    let lease = lease.as_ref();
    [
        text(owner.as_str()),
        text(tenant.as_str()),
        text(state.as_str()),
        text(pipeline),
        integer(created_at.0).into(),
        integer(updated_at.0).into(),
        state.is_terminal().then_some(integer(updated_at.0)).into(),
        queue.map(|entry| entry.pool.as_str().to_owned()).into(),
        queue.map(|entry| entry.order).into(),
        queue.map(|entry| integer(entry.not_before.0)).into(),
        queue.map(|entry| entry.cost_ms).into(),
        queue.and_then(|entry| write_gates(&entry.gates)).into(),
        lease.map(|lease| lease.lease.as_str().to_owned()).into(),
        lease.map(|lease| i64::from(lease.fence.0)).into(),
        lease.map(|lease| lease.worker.clone()).into(),
        lease.map(|lease| lease.node.clone()).into(),
        due_at.map(|at| integer(at.0)).into(),
        integer(sequence.0).into(),
        snapshot.clone().into(),
    ]
}

/// Moves the clock of a lane. Must run before the generation's columns are rewritten: a charge that comes with leaving
/// the pool's queue starts work, and then the pool's clock follows; any other corrects an earlier prediction.
fn settle(
    connection: &Connection,
    weights: &Weights,
    id: Option<i64>,
    row: Option<&Row>,
    charge: &Charge,
) -> rusqlite::Result<Effect> {
    let waited: Option<String> = connection
        .prepare_cached("SELECT pool FROM generation WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?
        .flatten();
    let waits_on = row.is_some_and(|row| row.queue.as_ref().is_some_and(|entry| entry.pool == charge.pool));
    let starts = row.is_some() && !waits_on && waited.as_deref() == Some(charge.pool.as_str());

    let (pool, tenant) = (charge.pool.as_str(), charge.tenant.as_str());
    let pool_clock: i64 = connection
        .prepare_cached("SELECT clock FROM pool WHERE name = ?1")?
        .query_row([pool], |row| row.get(0))
        .optional()?
        .unwrap_or(0);
    let clock: i64 = connection
        .prepare_cached("SELECT clock FROM lane WHERE pool = ?1 AND tenant = ?2")?
        .query_row([pool, tenant], |row| row.get(0))
        .optional()?
        // A lane nobody remembers is one that had nothing on the others.
        .unwrap_or(pool_clock);
    let weight = weights.of(&charge.tenant);

    let start = if starts { clock.max(pool_clock) } else { clock };
    let clock = start.saturating_add(lanes::price(charge.cost_ms, weight));
    connection
        .prepare_cached(
            "INSERT INTO lane(pool, tenant, clock) VALUES (?1, ?2, ?3)
             ON CONFLICT(pool, tenant) DO UPDATE SET clock = excluded.clock",
        )?
        .execute(params![pool, tenant, clock])?;
    let pool_clock = if starts {
        connection
            .prepare_cached(
                "INSERT INTO pool(name, clock) VALUES (?1, ?2)
                 ON CONFLICT(name) DO UPDATE SET clock = excluded.clock",
            )?
            .execute(params![pool, start])?;
        start
    } else {
        pool_clock
    };
    Ok(Effect::Charged { pool: charge.pool.clone(), tenant: charge.tenant.clone(), clock, pool_clock })
}

/// The queue as the file holds it, for a store that starts.
pub(super) fn waiting(connection: &Connection) -> rusqlite::Result<Vec<Effect>> {
    let mut select = connection.prepare(
        "SELECT id, public_id, tenant, created_at, pool, queue_order, not_before, cost_ms, gates
         FROM generation INDEXED BY generation_waiting WHERE pool IS NOT NULL ORDER BY id",
    )?;
    let moved = select.query_map([], |row| {
        Ok(Effect::Moved {
            id: row.get(0)?,
            generation: super::row::id(row, 1)?,
            tenant: super::row::id(row, 2)?,
            created_at: time(row, 3)?,
            entry: super::row::queue_entry(row, 4)?,
        })
    })?;
    moved.collect()
}

pub(super) fn run(connection: &Connection, statement: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(statement)?.execute([]).map(drop)
}
