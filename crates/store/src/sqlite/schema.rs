//! The tables, and the settings every connection runs with. Reading and writing them is left to the files beside this.

use rusqlite::Connection;

/// Marks the file as ours: `RUSH` in ASCII.
pub(super) const APPLICATION: i32 = 0x5255_5348;

/// Grows with every change of the tables that an older program cannot read.
pub(super) const VERSION: i32 = 3;

/// A page cache of 16 MiB for the writer: the upper levels of the event indexes of some ten million events; the
/// operating system caches the rest.
const WRITER_CACHE_KIB: i64 = 16 * 1024;

/// A page cache of 2 MiB for each reader: a page of events and the path to it.
const READER_CACHE_KIB: i64 = 2 * 1024;

/// Waits so long for a lock of another connection, in milliseconds. Only a tool that an operator runs on the file
/// takes one.
const BUSY_TIMEOUT_MS: u64 = 5_000;

/// Checkpoints after so many pages of log: 16 MiB, measured best between stalls and the size of the log.
const CHECKPOINT_PAGES: i64 = 4_000;

/// The log is cut back to so many bytes when it starts over.
const LOG_BYTES_MAX: i64 = 64 * 1024 * 1024;

/// `event` is ordered by arrival, not by generation: with many generations at work a batch fills one page instead of
/// touching one page each. `event_sequence` is the compare-and-set, and the only page of its own that an event writes: which
/// commands a generation had the writer knows (`known`), so they need no index.
///
/// `generation` has no head: the newest sequence is the last entry of `event_sequence`, so that a progress event writes
/// one row. Its `id` is the key inside this file; `key` is a UUIDv7 for stores that share their keys; `public_id` is
/// what the world knows. `snapshot` comes last, so that reading the other columns skips its overflow pages.
const TABLES: &str = "
CREATE TABLE generation(
    id INTEGER PRIMARY KEY,
    key BLOB NOT NULL,
    public_id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    tenant TEXT NOT NULL,
    state TEXT NOT NULL,
    pipeline TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    ended_at INTEGER,
    kept INTEGER NOT NULL DEFAULT 0,
    pool TEXT,
    queue_order INTEGER,
    not_before INTEGER,
    cost_ms INTEGER,
    gates TEXT,
    due_at INTEGER,
    lease TEXT,
    fence INTEGER,
    worker TEXT,
    node TEXT,
    snapshot_sequence INTEGER NOT NULL,
    snapshot BLOB NOT NULL
);
CREATE INDEX generation_owner ON generation(owner, id);
CREATE INDEX generation_tenant ON generation(tenant, id);
CREATE INDEX generation_unfinished ON generation(owner, id) WHERE ended_at IS NULL;
CREATE INDEX generation_waiting ON generation(id) WHERE pool IS NOT NULL;
CREATE INDEX generation_leased ON generation(id) WHERE lease IS NOT NULL;
CREATE INDEX generation_ended ON generation(ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX generation_kept ON generation(ended_at) WHERE kept = 1 AND ended_at IS NOT NULL;

CREATE TABLE event(
    position INTEGER PRIMARY KEY,
    generation INTEGER NOT NULL REFERENCES generation(id),
    sequence INTEGER NOT NULL,
    command TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    at INTEGER NOT NULL,
    body BLOB NOT NULL,
    fact BLOB NOT NULL
);
CREATE UNIQUE INDEX event_sequence ON event(generation, sequence);

CREATE TABLE claim(
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    digest BLOB NOT NULL,
    generation INTEGER NOT NULL REFERENCES generation(id),
    PRIMARY KEY(scope, key)
) WITHOUT ROWID;
CREATE INDEX claim_generation ON claim(generation);

CREATE INDEX generation_due ON generation(due_at) WHERE due_at IS NOT NULL;
CREATE INDEX generation_unfinished_of_tenant ON generation(tenant, id) WHERE ended_at IS NULL;

CREATE TABLE letter(
    generation INTEGER PRIMARY KEY REFERENCES generation(id),
    tenant TEXT NOT NULL,
    owner TEXT NOT NULL,
    pipeline TEXT NOT NULL,
    stage TEXT,
    cause TEXT NOT NULL,
    code TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    failed_at INTEGER NOT NULL,
    redriven_as TEXT,
    body BLOB NOT NULL
);
CREATE INDEX letter_fingerprint ON letter(fingerprint, failed_at);

CREATE TABLE switch(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE pool(name TEXT PRIMARY KEY, clock INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE lane(
    pool TEXT NOT NULL,
    tenant TEXT NOT NULL,
    clock INTEGER NOT NULL,
    PRIMARY KEY(pool, tenant)
) WITHOUT ROWID;

CREATE TABLE artifact(
    generation INTEGER NOT NULL REFERENCES generation(id),
    name TEXT NOT NULL,
    size INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY(generation, name)
) WITHOUT ROWID;
CREATE INDEX artifact_blob ON artifact(sha256);

CREATE TABLE upload(
    file TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    tenant TEXT NOT NULL,
    size INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX upload_blob ON upload(sha256);

CREATE TABLE orphan(sha256 TEXT PRIMARY KEY) WITHOUT ROWID;

CREATE TABLE meta(key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
";

/// Adds what helps reading and changes nothing that is read, so that it needs no version: a program that does not know of
/// it keeps it up all the same.
pub(super) fn index(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("CREATE INDEX IF NOT EXISTS upload_owner ON upload(tenant, owner, size);")
}

/// From version 1, which had neither gates nor deadlines, dead letters nor switches. A generation that waited then has no
/// gates until its columns are written again: nothing holds it back before its first run.
const FROM_1: &str = "
ALTER TABLE generation ADD COLUMN gates TEXT;
ALTER TABLE generation ADD COLUMN due_at INTEGER;
";

/// What version 2 added beside columns: from its first index to the tables of clocks.
fn added_by_2() -> &'static str {
    let begin = TABLES.find("CREATE INDEX generation_due").expect("the tables have it");
    let end = TABLES.find("CREATE TABLE pool").expect("the tables have it");
    &TABLES[begin..end]
}

/// From version 2, which looked for repeats in the file.
const FROM_2: &str = "DROP INDEX event_command;";

/// Brings the tables of an older version to this one, all or nothing.
pub(super) fn migrate(connection: &Connection, found: i32) -> rusqlite::Result<()> {
    debug_assert!(MIGRATES.contains(&found), "checked by whoever opens the file");
    let to_2 = if found < 2 { format!("{FROM_1} {}", added_by_2()) } else { String::new() };
    connection.execute_batch(&format!("BEGIN IMMEDIATE; {to_2} {FROM_2} PRAGMA user_version = {VERSION}; COMMIT;"))
}

/// Older versions this program takes over.
pub(super) const MIGRATES: std::ops::Range<i32> = 1..VERSION;

/// Creates the tables in an empty file, all or none.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "BEGIN IMMEDIATE; {TABLES} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; COMMIT;"
    ))
}

/// Settings of the write connection. `auto_vacuum` must come before the first table and is remembered by the file.
pub(super) fn configure_writer(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL;")?;
    set(connection, "journal_mode", "WAL", "wal")?;
    // Builds and wrappers differ in the default, and a server that believes it is durable must be.
    set(connection, "synchronous", "FULL", "2")?;
    set(connection, "foreign_keys", "ON", "1")?;
    // Elsewhere without effect; on Apple's systems an fsync alone does not reach the disk.
    set(connection, "fullfsync", "ON", "1")?;
    set(connection, "checkpoint_fullfsync", "ON", "1")?;
    set(connection, "temp_store", "MEMORY", "2")?;
    set(connection, "busy_timeout", BUSY_TIMEOUT_MS, BUSY_TIMEOUT_MS)?;
    set(connection, "wal_autocheckpoint", CHECKPOINT_PAGES, CHECKPOINT_PAGES)?;
    set(connection, "journal_size_limit", LOG_BYTES_MAX, LOG_BYTES_MAX)?;
    set(connection, "cache_size", -WRITER_CACHE_KIB, -WRITER_CACHE_KIB)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Settings of a read connection.
pub(super) fn configure_reader(connection: &Connection) -> rusqlite::Result<()> {
    set(connection, "query_only", "ON", "1")?;
    set(connection, "busy_timeout", BUSY_TIMEOUT_MS, BUSY_TIMEOUT_MS)?;
    set(connection, "cache_size", -READER_CACHE_KIB, -READER_CACHE_KIB)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Sets a pragma and reads it back: SQLite ignores what it does not know or cannot do.
fn set(
    connection: &Connection,
    name: &str,
    value: impl std::fmt::Display,
    expected: impl std::fmt::Display,
) -> rusqlite::Result<()> {
    // Some pragmas answer when they are set and some do not; `execute_batch` takes both.
    connection.execute_batch(&format!("PRAGMA {name} = {value};"))?;
    let found = read(connection, name)?;
    if found == expected.to_string() {
        Ok(())
    } else {
        Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_MISUSE),
            Some(format!("pragma {name} is {found}, wanted {expected}")),
        ))
    }
}

/// The value of a pragma as text.
pub(super) fn read(connection: &Connection, name: &str) -> rusqlite::Result<String> {
    connection.query_row(&format!("PRAGMA {name}"), [], |row| {
        Ok(match row.get_ref(0)? {
            rusqlite::types::ValueRef::Integer(number) => number.to_string(),
            rusqlite::types::ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
            other => format!("{other:?}"),
        })
    })
}
