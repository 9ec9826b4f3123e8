//! The ledger's file: its tables and settings, and what is refused.

use std::path::Path;

use protocol::Epoch;
use rusqlite::{Connection, OptionalExtension, params};

use super::LedgerError;
use crate::{LogPosition, sqlite::integer};

/// Marks the file as ours: `RUSL` in ASCII.
const APPLICATION: i32 = 0x5255_534c;
/// Grows with every change of the tables that an older program cannot read.
const VERSION: i32 = 1;

/// The file inside the data folder.
pub(super) const FILE: &str = "ledger.db";

/// Waits so long for a lock of another connection, in milliseconds. Only a tool that an operator runs on the file takes
/// one.
const BUSY_TIMEOUT_MS: u64 = 5_000;

const TABLES: &str = "
CREATE TABLE endpoint(
    name TEXT PRIMARY KEY,
    since INTEGER NOT NULL,
    disabled_at INTEGER,
    disabled_why TEXT
) WITHOUT ROWID;

CREATE TABLE due(
    endpoint TEXT NOT NULL REFERENCES endpoint(name) ON DELETE CASCADE,
    generation TEXT NOT NULL,
    sent INTEGER NOT NULL,
    target INTEGER NOT NULL,
    failures INTEGER NOT NULL DEFAULT 0,
    failing_since INTEGER,
    next_at INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY(endpoint, generation)
) WITHOUT ROWID;
CREATE INDEX due_next ON due(endpoint, next_at);

CREATE TABLE letter(
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    endpoint TEXT NOT NULL REFERENCES endpoint(name) ON DELETE CASCADE,
    generation TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    failing_since INTEGER NOT NULL,
    buried_at INTEGER NOT NULL,
    error TEXT NOT NULL
);
CREATE INDEX letter_endpoint ON letter(endpoint, id);
CREATE INDEX letter_generation ON letter(endpoint, generation);

CREATE TABLE meta(key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
";

/// See [`super::Ledger::open`].
pub(super) fn open(folder: &Path, epoch: &Epoch, head: LogPosition) -> Result<Connection, LedgerError> {
    let path = folder.join(FILE);
    let file = path.display().to_string();
    let unusable = |source| LedgerError::Unusable { file: file.clone(), source };
    let connection = Connection::open(&path).map_err(unusable)?;
    let fresh = match identify(&connection) {
        Ok((0, 0)) => true,
        Ok((APPLICATION, VERSION)) => false,
        Ok((APPLICATION, newer)) => {
            let what = format!("is of version {newer} and this program reads {VERSION}");
            return Err(LedgerError::Foreign { file, what });
        }
        Ok(_) => return Err(LedgerError::Foreign { file, what: "belongs to another program".into() }),
        Err(error) if is_no_database(&error) => {
            return Err(LedgerError::Foreign { file, what: "is no database".into() });
        }
        Err(error) => return Err(unusable(error)),
    };
    configure(&connection).map_err(unusable)?;
    if fresh {
        create(&connection).map_err(unusable)?;
    }
    align(&connection, epoch, head).map_err(unusable)?;
    Ok(connection)
}

/// Whose file it is, and of which version.
fn identify(connection: &Connection) -> rusqlite::Result<(i32, i32)> {
    let pragma = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0));
    Ok((pragma("application_id")?, pragma("user_version")?))
}

fn is_no_database(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::SqliteFailure(code, _) if code.code == rusqlite::ErrorCode::NotADatabase)
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    // NORMAL keeps the file sound over a power cut and takes back the last moments, which are then announced again.
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;
         PRAGMA busy_timeout = {BUSY_TIMEOUT_MS};"
    ))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "BEGIN IMMEDIATE; {TABLES} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; COMMIT;"
    ))
}

/// The log this ledger followed may have been taken back by a power cut or replaced by a backup. What lies beyond its
/// end is to come yet, and what was sent of another history says nothing about this one.
fn align(connection: &Connection, epoch: &Epoch, head: LogPosition) -> rusqlite::Result<()> {
    let head = integer(head.0);
    let known: Option<String> =
        connection.query_row("SELECT value FROM meta WHERE key = 'epoch'", [], |row| row.get(0)).optional()?;
    let insert = "INSERT INTO meta(key, value) VALUES (?1, ?2) ON CONFLICT(key) DO UPDATE SET value = excluded.value";
    connection.execute("BEGIN IMMEDIATE", [])?;
    if known.as_deref().is_some_and(|known| known != epoch.as_str()) {
        connection.execute("UPDATE due SET sent = 0", [])?;
    }
    connection.execute(insert, params!["epoch", epoch.as_str()])?;
    connection.execute(
        "INSERT INTO meta(key, value) VALUES ('cursor', ?1) ON CONFLICT(key) DO UPDATE SET value = min(value, ?1)",
        [head],
    )?;
    connection.execute("UPDATE endpoint SET since = min(since, ?1)", [head])?;
    connection.execute("COMMIT", []).map(drop)
}
