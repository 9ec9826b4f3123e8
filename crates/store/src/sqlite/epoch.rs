//! Is this the history that was here before? Decides whether the epoch is kept.
//!
//! Two counters of starts, one in the database and one in the file `boot` beside it, go up together. A database put
//! back from a copy has fallen behind the file and gets a new epoch, so that watchers with positions of the lost
//! history notice. A folder that is copied and put back whole looks like no restore: remove `boot` after doing that.
//!
//! A start writes `boot` first with the word `starting`, then the database, then `boot` again without the word, and
//! only then is anything else written. So `boot` one ahead and still `starting` is a crash in between, in which nothing
//! was lost; one ahead without the word is a restored copy.
//!
//! A commit that is not synced outlives its process but not its system, and no counter shows that it is gone. So `boot`
//! gets the word `unsynced`, with the id of the system's boot, before the first such commit of a start. It goes when the
//! folder is closed, or the next start has synced the log. A start that finds it in another boot of the system takes a new
//! epoch; so does one that cannot tell, because its system names no boots (only Linux does).

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use protocol::Epoch;
use rusqlite::{Connection, OptionalExtension, params};

/// What is in the file `boot`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Boot {
    starts: i64,
    starting: bool,
    /// In which boot of the system commits were made that may not have been synced; empty where it has no name.
    unsynced: Option<String>,
}

/// The file `boot` of an open store.
pub(super) struct Note {
    folder: PathBuf,
    boot_id: String,
    boot: Boot,
}

impl Note {
    /// To be called before a commit that is not synced; it must not be made when this fails. Writes once.
    pub(super) fn unsynced(&mut self) -> io::Result<()> {
        if self.boot.unsynced.is_some() {
            return Ok(());
        }
        self.put(Some(self.boot_id.clone()))
    }

    /// All that was committed is on the disk, and nothing else will be committed.
    pub(super) fn synced(&mut self) -> io::Result<()> {
        if self.boot.unsynced.is_none() {
            return Ok(());
        }
        self.put(None)
    }

    fn put(&mut self, unsynced: Option<String>) -> io::Result<()> {
        let boot = Boot { unsynced, ..self.boot.clone() };
        write(&self.folder, &boot)?;
        self.boot = boot;
        Ok(())
    }
}

/// Why the epoch could not be decided.
#[derive(Debug)]
pub(super) enum Failure {
    Io(io::Error),
    Sql(rusqlite::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

/// Counts this start and answers the epoch: the one that was, or one of `random` when the history is another. `boot_id` is
/// the system's, or empty where it has none. `connection` syncs what it commits.
pub(super) fn settle(
    connection: &Connection,
    folder: &Path,
    random: [u8; 6],
    boot_id: String,
) -> Result<(Epoch, Note), Failure> {
    let noted = read(folder)?;
    let counted: i64 = meta(connection, "starts")?.unwrap_or(0);
    let known = meta::<String>(connection, "epoch")?.and_then(|text| Epoch::new(&text).ok());

    let starts = counted.max(noted.as_ref().map_or(0, |boot| boot.starts));
    // A crash between the two files counted this start already.
    let again = noted.as_ref().is_some_and(|boot| boot.starting && boot.starts == counted + 1);
    let next = if again { starts } else { starts + 1 };
    let epoch = match known {
        Some(epoch) if continues(counted, noted.as_ref(), &boot_id) => epoch,
        known => {
            if let Some(before) = known {
                tracing::warn!(%before, ?noted, counted, "the database may lack what was seen of it; its epoch is new");
            }
            Epoch::generate(random)
        }
    };

    // What was not synced stays noted until the database has the epoch: this start may end before.
    let unsynced = noted.and_then(|boot| boot.unsynced);
    write(folder, &Boot { starts: next, starting: true, unsynced })?;
    let both = connection.unchecked_transaction()?;
    for (key, value) in [("starts", rusqlite::types::Value::from(next)), ("epoch", epoch.as_str().to_owned().into())] {
        both.execute(
            "INSERT INTO meta(key, value) VALUES (?1, ?2) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
            params![key, value],
        )?;
    }
    // Syncs the log, and with it what a process before left there.
    both.commit()?;
    let boot = Boot { starts: next, starting: false, unsynced: None };
    write(folder, &boot)?;
    Ok((epoch, Note { folder: folder.to_owned(), boot_id, boot }))
}

/// Does the file `boot` say that this database ran here last, and lacks nothing?
fn continues(counted: i64, noted: Option<&Boot>, boot_id: &str) -> bool {
    noted.is_some_and(|boot| {
        let ran_last = boot.starts == counted || (boot.starting && boot.starts == counted + 1);
        let is_whole = boot.unsynced.as_ref().is_none_or(|id| !id.is_empty() && id == boot_id);
        ran_last && is_whole
    })
}

/// What Linux calls this boot of the system, also in containers. Empty elsewhere.
pub(super) fn boot_id() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.split_whitespace().next().unwrap_or_default().to_owned()
}

/// Has a store been started in `folder` before?
pub(super) fn is_noted(folder: &Path) -> bool {
    folder.join("boot").exists()
}

fn meta<T: rusqlite::types::FromSql>(connection: &Connection, key: &str) -> rusqlite::Result<Option<T>> {
    connection.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0)).optional()
}

/// What is no count counts as no file: the epoch is new, which is safe.
fn read(folder: &Path) -> io::Result<Option<Boot>> {
    let text = match fs::read(folder.join("boot")) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(parse(&text))
}

fn parse(text: &str) -> Option<Boot> {
    let mut words = text.split_whitespace().peekable();
    let starts = words.next()?.parse().ok()?;
    let starting = words.next_if_eq(&"starting").is_some();
    let unsynced = words.next_if_eq(&"unsynced").map(|_| words.next().unwrap_or_default().to_owned());
    words.next().is_none().then_some(Boot { starts, starting, unsynced })
}

/// Replaces the file in one step, and returns when a power cut can no longer undo it.
fn write(folder: &Path, boot: &Boot) -> io::Result<()> {
    let mut text = boot.starts.to_string();
    if boot.starting {
        text.push_str(" starting");
    }
    if let Some(id) = &boot.unsynced {
        text.push_str(" unsynced ");
        text.push_str(id);
    }
    let fresh = folder.join("boot.new");
    let mut file = File::create(&fresh)?;
    writeln!(file, "{}", text.trim_end())?;
    file.sync_all()?;
    fs::rename(&fresh, folder.join("boot"))?;
    // A rename lasts when its folder is synced; only Unix can open a folder for that.
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: [u8; 6] = [1; 6];
    const SECOND: [u8; 6] = [2; 6];

    fn database(starts: i64, epoch: &str) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        super::super::schema::create(&connection).unwrap();
        connection.execute("INSERT INTO meta VALUES ('starts', ?1), ('epoch', ?2)", params![starts, epoch]).unwrap();
        connection
    }

    /// The epoch after a start in the boot `here` of the system.
    fn settled(database: &Connection, folder: &Path, random: [u8; 6]) -> Epoch {
        settle(database, folder, random, "here".into()).unwrap().0
    }

    #[test]
    fn a_start_that_crashed_between_the_two_counters_keeps_the_epoch() {
        let folder = tempfile::tempdir().unwrap();
        // Before the database counted, and after.
        for (counted, noted) in [(4, "5 starting\n"), (5, "5 starting\n"), (5, "5\n")] {
            fs::write(folder.path().join("boot"), noted).unwrap();
            let epoch = settled(&database(counted, "before"), folder.path(), FIRST);
            assert_eq!(epoch.as_str(), "before", "database {counted}, file {noted:?}");
        }
    }

    #[test]
    fn a_database_that_fell_behind_or_runs_ahead_gets_a_new_epoch() {
        let folder = tempfile::tempdir().unwrap();
        for (counted, noted) in [(4, "5\n"), (3, "5\n"), (3, "5 starting\n"), (6, "5\n"), (5, "garbage"), (5, "")] {
            fs::write(folder.path().join("boot"), noted).unwrap();
            let database = database(counted, "before");
            let epoch = settled(&database, folder.path(), SECOND);
            assert_eq!(epoch, Epoch::generate(SECOND), "database {counted}, file {noted:?}");
            // The counters agree again, so that the next start keeps it.
            assert_eq!(settled(&database, folder.path(), FIRST), Epoch::generate(SECOND));
        }
    }

    #[test]
    fn a_database_without_its_file_gets_a_new_epoch() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(settled(&database(5, "before"), folder.path(), FIRST), Epoch::generate(FIRST));
    }

    #[test]
    fn commits_that_were_not_synced_keep_the_epoch_only_within_one_boot_of_the_system() {
        let folder = tempfile::tempdir().unwrap();
        for (counted, noted, boot_id, keeps) in [
            (5, "5 unsynced here\n", "here", true),
            (5, "5 unsynced here\n", "there", false),
            (5, "5 unsynced here\n", "", false),
            (5, "5 unsynced\n", "here", false),
            (5, "5 unsynced\n", "", false),
            (5, "5\n", "", true),
            // A start in between that ended before it was through.
            (4, "5 starting unsynced here\n", "here", true),
            (5, "5 starting unsynced here\n", "here", true),
            (4, "5 starting unsynced here\n", "there", false),
            (5, "5 starting unsynced here\n", "there", false),
            // A copy was put back as well.
            (4, "5 unsynced here\n", "here", false),
            // None of ours.
            (5, "5 unsynced here twice\n", "here", false),
        ] {
            fs::write(folder.path().join("boot"), noted).unwrap();
            let database = database(counted, "before");
            let (epoch, _) = settle(&database, folder.path(), SECOND, boot_id.into()).unwrap();
            let wanted = if keeps { Epoch::new("before").unwrap() } else { Epoch::generate(SECOND) };
            assert_eq!(epoch, wanted, "database {counted}, file {noted:?}, boot {boot_id:?}");
            // All of it is synced now, so the next start keeps it in any boot.
            assert_eq!(settle(&database, folder.path(), FIRST, "elsewhere".into()).unwrap().0, wanted);
        }
    }

    #[test]
    fn a_start_that_ends_before_its_new_epoch_is_kept_leaves_the_next_one_to_find_the_loss() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("boot"), "5 unsynced here\n").unwrap();
        let database = database(5, "before");
        database.pragma_update(None, "query_only", true).unwrap();
        assert!(settle(&database, folder.path(), FIRST, "there".into()).is_err());
        database.pragma_update(None, "query_only", false).unwrap();
        let (epoch, _) = settle(&database, folder.path(), SECOND, "there".into()).unwrap();
        assert_eq!(epoch, Epoch::generate(SECOND));
    }

    #[test]
    fn the_note_names_the_boot_and_goes_when_all_is_synced() {
        let folder = tempfile::tempdir().unwrap();
        let text = || fs::read_to_string(folder.path().join("boot")).unwrap();
        for (boot_id, noted) in [("here", " unsynced here\n"), ("", " unsynced\n")] {
            let (_, mut note) = settle(&database(5, "before"), folder.path(), FIRST, boot_id.into()).unwrap();
            let before = text();
            note.unsynced().unwrap();
            note.unsynced().unwrap();
            assert_eq!(text(), before.replace('\n', noted));
            note.synced().unwrap();
            assert_eq!(text(), before);
        }
    }
}
