//! Is this the history that was here before? Decides whether the epoch is kept.
//!
//! Two counters of starts, one in the database and one in the file `boot` beside it, go up together. A database put
//! back from a copy has fallen behind the file and gets a new epoch, so that watchers with positions of the lost
//! history notice. A folder that is copied and put back whole looks like no restore: remove `boot` after doing that.
//!
//! A start writes `boot` first with the word `starting`, then the database, then `boot` again without the word, and
//! only then is anything else written. So `boot` one ahead and still `starting` is a crash in between, in which nothing
//! was lost; one ahead without the word is a restored copy.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use protocol::Epoch;
use rusqlite::{Connection, OptionalExtension, params};

/// What is in the file `boot`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Boot {
    starts: i64,
    starting: bool,
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

/// Counts this start and answers the epoch: the one that was, or one of `random` when the history is another.
pub(super) fn settle(connection: &Connection, folder: &Path, random: [u8; 6]) -> Result<Epoch, Failure> {
    let noted = read(folder)?;
    let counted: i64 = meta(connection, "starts")?.unwrap_or(0);
    let known = meta::<String>(connection, "epoch")?.and_then(|text| Epoch::new(&text).ok());

    let starts = counted.max(noted.map_or(0, |boot| boot.starts));
    // A crash between the two files counted this start already.
    let next = if noted == Some(Boot { starts: counted + 1, starting: true }) { starts } else { starts + 1 };
    let epoch = match known {
        Some(epoch) if continues(counted, noted) => epoch,
        known => {
            if let Some(before) = known {
                tracing::warn!(%before, ?noted, counted, "the database is not the one that ran here last; its epoch is new");
            }
            Epoch::generate(random)
        }
    };

    write(folder, Boot { starts: next, starting: true })?;
    let both = connection.unchecked_transaction()?;
    for (key, value) in [("starts", rusqlite::types::Value::from(next)), ("epoch", epoch.as_str().to_owned().into())] {
        both.execute(
            "INSERT INTO meta(key, value) VALUES (?1, ?2) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
            params![key, value],
        )?;
    }
    both.commit()?;
    write(folder, Boot { starts: next, starting: false })?;
    Ok(epoch)
}

/// Does the file `boot` say that this database ran here last?
fn continues(counted: i64, noted: Option<Boot>) -> bool {
    noted.is_some_and(|boot| boot.starts == counted || (boot.starting && boot.starts == counted + 1))
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
    let (number, starting) = match text.trim().strip_suffix(" starting") {
        Some(number) => (number, true),
        None => (text.trim(), false),
    };
    Ok(number.parse().ok().map(|starts| Boot { starts, starting }))
}

/// Replaces the file in one step, and returns when a power cut can no longer undo it.
fn write(folder: &Path, boot: Boot) -> io::Result<()> {
    let fresh = folder.join("boot.new");
    let mut file = File::create(&fresh)?;
    writeln!(file, "{}{}", boot.starts, if boot.starting { " starting" } else { "" })?;
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

    #[test]
    fn a_start_that_crashed_between_the_two_counters_keeps_the_epoch() {
        let folder = tempfile::tempdir().unwrap();
        // Before the database counted, and after.
        for (counted, noted) in [(4, "5 starting\n"), (5, "5 starting\n"), (5, "5\n")] {
            fs::write(folder.path().join("boot"), noted).unwrap();
            let epoch = settle(&database(counted, "before"), folder.path(), FIRST).unwrap();
            assert_eq!(epoch.as_str(), "before", "database {counted}, file {noted:?}");
        }
    }

    #[test]
    fn a_database_that_fell_behind_or_runs_ahead_gets_a_new_epoch() {
        let folder = tempfile::tempdir().unwrap();
        for (counted, noted) in [(4, "5\n"), (3, "5\n"), (3, "5 starting\n"), (6, "5\n"), (5, "garbage"), (5, "")] {
            fs::write(folder.path().join("boot"), noted).unwrap();
            let database = database(counted, "before");
            let epoch = settle(&database, folder.path(), SECOND).unwrap();
            assert_eq!(epoch, Epoch::generate(SECOND), "database {counted}, file {noted:?}");
            // The counters agree again, so that the next start keeps it.
            assert_eq!(settle(&database, folder.path(), FIRST).unwrap(), Epoch::generate(SECOND));
        }
    }

    #[test]
    fn a_database_without_its_file_gets_a_new_epoch() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(settle(&database(5, "before"), folder.path(), FIRST).unwrap(), Epoch::generate(FIRST));
    }
}
