//! The connection to a file, replaced when the file is.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use ratelimit_backend::{BackendError, ErrorKind};
use rusqlite::{Connection, OpenFlags};

use crate::{
    Synchronous,
    busy::retry_while_busy,
    error::{Failure, at_path},
    file::{self, FileId, explain_open, explain_write, refused},
    schema,
    wal::Wal,
};

pub(crate) struct Database {
    /// `None` for a database in memory.
    path: Option<PathBuf>,
    synchronous: Synchronous,
    open: Option<Open>,
    /// Others may use a write-ahead log until then that was deleted.
    closed_until: Option<Instant>,
}

struct Open {
    connection: Connection,
    files: Option<Files>,
    looked_at: Instant,
    wal: Wal,
}

/// The file, and its write-ahead log if that is there.
#[derive(Clone, Copy, Eq, PartialEq)]
struct Files {
    file: FileId,
    wal: Option<FileId>,
}

/// A change of the files that a connection has open.
enum Change {
    None,
    Replaced,
    WalDeleted,
}

impl Database {
    pub(crate) fn open(
        path: Option<PathBuf>,
        synchronous: Synchronous,
        deadline: Instant,
    ) -> Result<Self, BackendError> {
        // So that it stays the same file when the process changes its working directory.
        let absolute =
            |path: PathBuf| std::path::absolute(&path).map_err(|cause| refused(cause, &path));
        let path = path.map(absolute).transpose()?;
        let mut database = Self { path, synchronous, open: None, closed_until: None };
        database.connection(deadline)?;
        Ok(database)
    }

    /// The connection. It is a new one if the file has been replaced, or if a transaction could
    /// not be rolled back.
    pub(crate) fn connection(&mut self, deadline: Instant) -> Result<&Connection, BackendError> {
        self.look();
        let open = match self.open.take() {
            Some(open) => open,
            None => self.reopen(deadline)?,
        };
        Ok(&self.open.insert(open).connection)
    }

    /// Closes the connection if it is of no use any more: before a new one is opened, since they may
    /// share a file's companions.
    pub(crate) fn look(&mut self) {
        let (path, Some(open)) = (self.path.as_deref(), &mut self.open) else { return };
        match open.change(path) {
            Change::None => {}
            Change::Replaced => self.open = None,
            Change::WalDeleted => {
                // Written back by all who notice: at its end only the last user of the file does so,
                // which may be a newcomer with a log of its own. Busy users try it in their turn.
                let _ = open.connection.query_row(WRITE_BACK, [], |_| Ok(()));
                self.open = None;
                if path.is_some_and(|path| file::shared_memory(path).exists()) {
                    self.closed_until = Some(Instant::now() + 2 * LOOK_AGAIN);
                }
            }
        }
    }

    fn reopen(&mut self, deadline: Instant) -> Result<Open, BackendError> {
        let path = self.path.as_deref();
        if self.closed_until.is_some_and(|until| Instant::now() < until) {
            let error = BackendError::not_applied(ErrorKind::Unavailable);
            return Err(at_path(error, WalDeleted, path));
        }
        self.closed_until = None;
        Open::new(path, self.synchronous, deadline)
    }

    /// Explains why a transaction has failed.
    pub(crate) fn explain(&self, failure: Failure) -> BackendError {
        match &self.path {
            Some(path) => explain_write(failure, path),
            None => failure.into_error(None),
        }
    }

    /// Returns true if the write-ahead log is to be written back.
    pub(crate) fn is_wal_long(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.wal.is_long())
    }

    /// Has the write-ahead log written back, as far as others let it.
    pub(crate) fn write_wal_back(&mut self) {
        if let (Some(path), Some(open)) = (&self.path, &mut self.open)
            && let Some(Files { file, .. }) = open.files
        {
            open.wal.write_back(path, file);
        }
    }

    pub(crate) fn close(&mut self) {
        self.open = None;
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the write-ahead log was deleted, and others still have it open")]
struct WalDeleted;

/// Nobody uses the file any more when it is closed.
impl Drop for Open {
    fn drop(&mut self) {
        self.wal.wait();
    }
}

impl Open {
    fn new(
        path: Option<&Path>,
        synchronous: Synchronous,
        deadline: Instant,
    ) -> Result<Self, BackendError> {
        let connection = connect(path, synchronous, deadline);
        let wal = connection.and_then(|mut connection| Ok((Wal::of(&mut connection)?, connection)));
        let (wal, connection) = wal.map_err(|failure| match path {
            Some(path) => explain_open(failure, path),
            None => failure.into_error(None),
        })?;
        let files = path.map(|path| Files::of(path).map_err(|cause| refused(cause, path)));
        Ok(Self { connection, files: files.transpose()?, looked_at: Instant::now(), wal })
    }

    /// Looks at its files once in a while.
    fn change(&mut self, path: Option<&Path>) -> Change {
        if !self.connection.is_autocommit() {
            return Change::Replaced;
        }
        let (Some(path), Some(files)) = (path, self.files) else { return Change::None };
        if self.looked_at.elapsed() < LOOK_AGAIN {
            return Change::None;
        }
        self.looked_at = Instant::now();
        match Files::of(path) {
            Ok(found) if found == files => Change::None,
            Ok(found) if found.file == files.file => Change::WalDeleted,
            _ => Change::Replaced,
        }
    }
}

impl Files {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { file: FileId::of(path)?, wal: FileId::of(&file::wal(path)).ok() })
    }
}

/// A connection that is ready for use.
fn connect(
    path: Option<&Path>,
    synchronous: Synchronous,
    deadline: Instant,
) -> Result<Connection, Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = match path {
        Some(path) => {
            // If it fails, so does SQLite, which says how.
            let _ = file::create(path);
            Connection::open_with_flags(path, flags)?
        }
        None => Connection::open_in_memory_with_flags(flags)?,
    };
    // `busy` waits for the locks of others.
    connection.busy_timeout(Duration::ZERO)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    retry_while_busy(deadline, || schema::prepare(&connection, path.is_some(), synchronous))?;
    Ok(connection)
}

const WRITE_BACK: &str = "PRAGMA wal_checkpoint(PASSIVE)";

/// As many as there are, and some to spare: none is ever prepared twice.
const STATEMENTS: usize = 24;

/// As long as two processes may use two files under one name.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(1);
