//! Opens a data folder, or says why not and what to do. Nothing that was found is changed before it is understood, and
//! nothing is ever deleted.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use protocol::Epoch;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{
    Options, batch, epoch,
    lanes::{Lanes, Weights},
    readers::Readers,
    row::{id, is_full},
    schema,
    unfinished::Unfinished,
    writer::{SharedLanes, Writer},
};

/// The database inside the data folder.
const DATABASE: &str = "rushes.db";

/// A database up to so many bytes is checked page by page at each start, in about a second from a cold disk. Damage in
/// a larger one shows when a damaged page is read.
const CHECKED_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Why a data folder was not opened. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the data folder {} is in use{}: stop that server, or choose another folder", folder.display(), by(*pid))]
    InUse {
        /// The data folder.
        folder: PathBuf,
        /// Who has it, where that could be read.
        pid: Option<u32>,
    },
    /// The database is damaged, or none of ours.
    #[error("{} is no sound database ({finding}); nothing was changed. {}", path.display(), WAY_BACK)]
    Corrupt {
        /// The database file.
        path: PathBuf,
        /// What was found.
        finding: String,
    },
    /// Another version of the program wrote it.
    #[error(
        "the data folder {} has version {found}, this program reads version {known}: \
         start the program that wrote it, or choose another folder", folder.display()
    )]
    Version {
        /// The data folder.
        folder: PathBuf,
        /// What the file says.
        found: i32,
        /// What this program knows.
        known: i32,
    },
    /// It cannot be written.
    #[error("the data folder {} cannot be written: give this user the right to, or choose another folder", folder.display())]
    ReadOnly {
        /// The data folder.
        folder: PathBuf,
    },
    /// There is no room.
    #[error("the disk under the data folder {} is full: make room, then start again", folder.display())]
    Full {
        /// The data folder.
        folder: PathBuf,
    },
    /// The file system refused otherwise.
    #[error("the data folder {} cannot be used", folder.display())]
    Io {
        /// The data folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What an operator with a damaged database can do.
const WAY_BACK: &str = "To go on, move rushes.db, rushes.db-wal and rushes.db-shm aside together and put a backup in \
    their place, or save what can be read with `sqlite3 rushes.db .recover`; without a database the server starts empty";

fn by(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" by process {pid}"))
}

/// The parts of an open store.
pub(super) struct Opened {
    pub(super) writer: Writer,
    pub(super) readers: Readers,
    pub(super) lanes: SharedLanes,
    pub(super) epoch: Epoch,
}

/// Opens or creates the store in `options.folder`.
pub(super) fn open(options: Options) -> Result<Opened, OpenError> {
    let Options { folder, now, random, on_commit, readers, weights } = options;
    let weights = Arc::new(Weights(weights));
    let problem = |error: io::Error| refused(&folder, error);
    fs::create_dir_all(&folder).map_err(problem)?;
    let lock = lock(&folder)?;
    let path = folder.join(DATABASE);
    refuse_emptied(&folder, &path)?;
    refuse_torn(&folder, &path)?;

    let sql = |error: rusqlite::Error| failed(&folder, &path, error);
    let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(&path, flags | OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)
            .map_err(sql)?;
    prepare(&connection, &folder, &path)?;
    let settled = epoch::settle(&connection, &folder, random, epoch::boot_id());
    let (epoch, note) = settled.map_err(|error| match error {
        epoch::Failure::Io(error) => refused(&folder, error),
        epoch::Failure::Sql(error) => sql(error),
    })?;
    let lanes = Arc::new(Mutex::new(restore(&connection, Lanes::new(now, Arc::clone(&weights))).map_err(sql)?));

    let mut connections = Vec::new();
    for _ in 0..readers.max(1) {
        let reader = Connection::open_with_flags(&path, flags | OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(sql)?;
        schema::configure_reader(&reader).map_err(sql)?;
        connections.push(reader);
    }
    let writer = Writer::start(connection, Arc::clone(&lanes), weights, on_commit, note, lock).map_err(problem)?;
    Ok(Opened { writer, readers: Readers::new(connections), lanes, epoch })
}

/// Takes the folder for the life of the process. The operating system frees the lock however the process ends.
fn lock(folder: &Path) -> Result<File, OpenError> {
    let problem = |error: io::Error| refused(folder, error);
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(folder.join("lock"))
        .map_err(problem)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Without a number the message is shorter, no more.
            let pid = file.read_to_string(&mut holder).ok().and_then(|_| holder.trim().parse().ok());
            return Err(OpenError::InUse { folder: folder.to_owned(), pid });
        }
        Err(TryLockError::Error(error)) => return Err(problem(error)),
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(problem)?;
    Ok(file)
}

/// To SQLite an empty file is a new database. To us, after a first start, it is a lost one.
fn refuse_emptied(folder: &Path, path: &Path) -> Result<(), OpenError> {
    match fs::metadata(path) {
        Ok(found) if found.len() == 0 && epoch::is_noted(folder) => {
            Err(OpenError::Corrupt { path: path.to_owned(), finding: "the file is empty".into() })
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(refused(folder, error)),
    }
}

/// Bytes of a database's header up to and with its page size.
const PAGE_SIZE_END: usize = 18;

/// SQLite passes over a last page that is not whole. Where no log stands beside the file to complete it, something was
/// cut off.
fn refuse_torn(folder: &Path, path: &Path) -> Result<(), OpenError> {
    let logged = fs::metadata(path.with_extension("db-wal")).is_ok_and(|log| log.len() > 0);
    let mut file = match File::open(path) {
        Ok(file) if !logged => file,
        _ => return Ok(()),
    };
    let mut header = [0; PAGE_SIZE_END];
    if file.read_exact(&mut header).is_err() {
        return Ok(());
    }
    // The file format writes 65,536, which does not fit, as 1.
    let page = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536,
        size => u64::from(size),
    };
    let length = file.metadata().map_err(|error| refused(folder, error))?.len();
    if page == 0 || length.is_multiple_of(page) {
        return Ok(());
    }
    Err(OpenError::Corrupt { path: path.to_owned(), finding: format!("{length} bytes are no whole number of pages") })
}

/// Checks that the file is ours, sound and of this version, before the first setting that writes to it; creates the
/// tables in an empty one.
fn prepare(connection: &Connection, folder: &Path, path: &Path) -> Result<(), OpenError> {
    let sql = |error: rusqlite::Error| failed(folder, path, error);
    let corrupt = |finding: String| OpenError::Corrupt { path: path.to_owned(), finding };
    let number = |pragma: &str| connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i32>(0));
    let tables: u32 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(sql)?;
    if tables == 0 {
        schema::configure_writer(connection).map_err(sql)?;
        return schema::create(connection).and_then(|()| schema::index(connection)).map_err(sql);
    }
    if number("application_id").map_err(sql)? != schema::APPLICATION {
        return Err(corrupt("it was made by another program".into()));
    }
    let found = number("user_version").map_err(sql)?;
    if found != schema::VERSION && !schema::MIGRATES.contains(&found) {
        return Err(OpenError::Version { folder: folder.to_owned(), found, known: schema::VERSION });
    }
    let bytes = fs::metadata(path).map_err(|error| refused(folder, error))?.len();
    if bytes <= CHECKED_BYTES_MAX {
        let finding = schema::read(connection, "quick_check(1)").map_err(sql)?;
        if finding != "ok" {
            return Err(corrupt(finding));
        }
    }
    schema::configure_writer(connection).map_err(sql)?;
    if found != schema::VERSION {
        schema::migrate(connection, found).map_err(sql)?;
        tracing::info!(
            from = found,
            to = schema::VERSION,
            "the tables of the data folder were brought to this version"
        );
    }
    schema::index(connection).map_err(sql)
}

/// The queue as the database holds it.
fn restore(connection: &Connection, mut lanes: Lanes) -> rusqlite::Result<Lanes> {
    let mut pools = connection.prepare("SELECT name, clock FROM pool")?;
    let mut rows = pools.query([])?;
    while let Some(row) = rows.next()? {
        lanes.restore_pool(id(row, 0)?, row.get(1)?);
    }
    let mut clocks = connection.prepare("SELECT pool, tenant, clock FROM lane")?;
    let mut rows = clocks.query([])?;
    while let Some(row) = rows.next()? {
        lanes.restore(id(row, 0)?, id(row, 1)?, row.get(2)?);
    }
    for effect in batch::waiting(connection)? {
        lanes.apply(effect);
    }
    lanes.unfinished = Unfinished::read(connection)?;
    Ok(lanes)
}

fn refused(folder: &Path, error: io::Error) -> OpenError {
    let folder = folder.to_owned();
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => OpenError::ReadOnly { folder },
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => OpenError::Full { folder },
        _ => OpenError::Io { folder, source: error },
    }
}

fn failed(folder: &Path, path: &Path, error: rusqlite::Error) -> OpenError {
    let full = is_full(&error);
    match error.sqlite_error_code() {
        _ if full => OpenError::Full { folder: folder.to_owned() },
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            OpenError::Corrupt { path: path.to_owned(), finding: error.to_string() }
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => OpenError::ReadOnly { folder: folder.to_owned() },
        Some(_) => OpenError::Io { folder: folder.to_owned(), source: io::Error::other(error) },
        // A value that no column of ours holds.
        None => OpenError::Corrupt { path: path.to_owned(), finding: error.to_string() },
    }
}
