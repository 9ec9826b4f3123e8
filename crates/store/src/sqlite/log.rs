//! The log of all generations, in the order of commits: how somebody who must miss nothing follows everything.
//!
//! Events of one generation are read in `read`, and appended in `batch`.

use rusqlite::{Connection, params};

use super::row::{bound, event, integer, whole};
use crate::{LogPosition, Logged};

/// Where `meta` keeps the last place that was given, when its event is deleted.
const HEAD: &str = "log_head";

/// See [`crate::History::log_after`].
pub(super) fn after(connection: &Connection, position: LogPosition, limit: usize) -> rusqlite::Result<Vec<Logged>> {
    connection
        .prepare_cached("SELECT position, sequence, body FROM event WHERE position > ?1 ORDER BY position LIMIT ?2")?
        .query_map(params![integer(position.0), bound(limit)], |row| {
            Ok(Logged { position: LogPosition(whole(row, 0)?), event: event(row, 1)? })
        })?
        .collect()
}

/// See [`crate::History::log_head`]. The next event stands one further.
pub(super) fn head(connection: &Connection) -> rusqlite::Result<LogPosition> {
    connection
        .prepare_cached(
            "SELECT max(ifnull((SELECT max(position) FROM event), 0),
                        ifnull((SELECT value FROM meta WHERE key = ?1), 0))",
        )?
        .query_row([HEAD], |row| whole(row, 0).map(LogPosition))
}

/// Remembers the head before events are deleted: SQLite would give the place of the newest row again.
pub(super) fn keep_head(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO meta(key, value) SELECT ?1, ifnull(max(position), 0) FROM event WHERE true
             ON CONFLICT(key) DO UPDATE SET value = max(value, excluded.value)",
        )?
        .execute([HEAD])
        .map(drop)
}
