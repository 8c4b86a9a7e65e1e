//! The connection to a file, replaced when the file is.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use ratelimit_backend::BackendError;
use rusqlite::{Connection, OpenFlags};

use crate::{
    Synchronous,
    busy::patiently,
    error::Failure,
    wal::Log,
    file::{explain_open, explain_write, refused},
    schema,
};

pub(crate) struct Database {
    /// `None` for a database in memory.
    path: Option<PathBuf>,
    synchronous: Synchronous,
    open: Option<Open>,
}

struct Open {
    connection: Connection,
    file: Option<FileId>,
    looked_at: Instant,
    log: Log,
}

impl Database {
    pub(crate) fn open(
        path: Option<PathBuf>,
        synchronous: Synchronous,
        due: Instant,
    ) -> Result<Self, BackendError> {
        // So that it stays the same file when the process changes its working directory.
        let path = path.map(std::path::absolute).transpose().map_err(refused)?;
        let mut database = Self { path, synchronous, open: None };
        database.connection(due)?;
        Ok(database)
    }

    /// The connection. It is a new one if the file has been replaced, or if a transaction could
    /// not be rolled back.
    pub(crate) fn connection(&mut self, due: Instant) -> Result<&Connection, BackendError> {
        let path = self.path.as_deref();
        // The old one is closed before the new one is opened: they may share a file's companions.
        let open = match self.open.take().and_then(|open| open.if_fit(path)) {
            Some(open) => open,
            None => Open::new(path, self.synchronous, due)?,
        };
        Ok(&self.open.insert(open).connection)
    }

    /// Why a transaction has failed.
    pub(crate) fn explain(&self, failure: Failure) -> BackendError {
        match &self.path {
            Some(path) => explain_write(failure, path),
            None => failure.into(),
        }
    }

    /// Whether the write-ahead log is to be written back.
    pub(crate) fn is_log_long(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.log.is_long())
    }

    /// Writes the log back, as far as others let it.
    pub(crate) fn write_log_back(&mut self) {
        if let (Some(path), Some(open)) = (&self.path, &mut self.open)
            && let Some(file) = open.file
        {
            open.log.write_back(&open.connection, path, file);
        }
    }

    pub(crate) fn close(&mut self) {
        self.open = None;
    }
}

/// The file is not in use any more when it is closed.
impl Drop for Open {
    fn drop(&mut self) {
        self.log.wait();
    }
}

impl Open {
    fn new(
        path: Option<&Path>,
        synchronous: Synchronous,
        due: Instant,
    ) -> Result<Self, BackendError> {
        let mut connection = connect(path, synchronous, due).map_err(|failure| match path {
            Some(path) => explain_open(failure, path),
            None => failure.into(),
        })?;
        let log = Log::of(&mut connection)?;
        let file = path.map(FileId::of).transpose().map_err(refused)?;
        Ok(Self { connection, file, looked_at: Instant::now(), log })
    }

    /// The same, unless it is of no use any more.
    fn if_fit(mut self, path: Option<&Path>) -> Option<Self> {
        if !self.connection.is_autocommit() {
            return None;
        }
        if LOOK_AGAIN <= self.looked_at.elapsed() {
            self.looked_at = Instant::now();
            let file = path.and_then(|path| FileId::of(path).ok());
            return (file == self.file).then_some(self);
        }
        Some(self)
    }
}

/// A connection that is ready for use.
fn connect(
    path: Option<&Path>,
    synchronous: Synchronous,
    due: Instant,
) -> Result<Connection, Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = match path {
        Some(path) => Connection::open_with_flags(path, flags)?,
        None => Connection::open_in_memory_with_flags(flags)?,
    };
    // Who is in the way is waited for here, see `busy`.
    connection.busy_timeout(Duration::ZERO)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    patiently(due, || schema::prepare(&connection, path.is_some(), synchronous))?;
    Ok(connection)
}

/// Which file a path leads to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    #[cfg(unix)]
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt;

        let metadata = fs::metadata(path)?;
        Ok(Self { device: metadata.dev(), inode: metadata.ino() })
    }

    /// Elsewhere a file that is open can be neither deleted nor replaced.
    #[cfg(not(unix))]
    pub(crate) fn of(_: &Path) -> io::Result<Self> {
        Ok(Self { device: 0, inode: 0 })
    }
}

/// As many as there are, and some to spare: none is ever prepared twice.
const STATEMENTS: usize = 24;

/// As long as two processes may use two files under one name.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
