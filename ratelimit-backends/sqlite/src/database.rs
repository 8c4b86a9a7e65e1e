//! The connection to a file, replaced when the file is.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use ratelimit_backend::BackendError;
use rusqlite::{Connection, OpenFlags};

use crate::{
    Synchronous,
    busy::retry_while_busy,
    error::Failure,
    file::{FileId, explain_open, explain_write, refused},
    schema,
    wal::Wal,
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
    wal: Wal,
}

impl Database {
    pub(crate) fn open(
        path: Option<PathBuf>,
        synchronous: Synchronous,
        deadline: Instant,
    ) -> Result<Self, BackendError> {
        // So that it stays the same file when the process changes its working directory.
        let path = path.map(std::path::absolute).transpose().map_err(refused)?;
        let mut database = Self { path, synchronous, open: None };
        database.connection(deadline)?;
        Ok(database)
    }

    /// The connection. It is a new one if the file has been replaced, or if a transaction could
    /// not be rolled back.
    pub(crate) fn connection(&mut self, deadline: Instant) -> Result<&Connection, BackendError> {
        let path = self.path.as_deref();
        // The old one is closed before the new one is opened: they may share a file's companions.
        let open = match self.open.take().and_then(|open| open.if_fit(path)) {
            Some(open) => open,
            None => Open::new(path, self.synchronous, deadline)?,
        };
        Ok(&self.open.insert(open).connection)
    }

    /// Explains why a transaction has failed.
    pub(crate) fn explain(&self, failure: Failure) -> BackendError {
        match &self.path {
            Some(path) => explain_write(failure, path),
            None => failure.into(),
        }
    }

    /// Returns true if the write-ahead log is to be written back.
    pub(crate) fn is_wal_long(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.wal.is_long())
    }

    /// Writes the write-ahead log back, as far as others let it.
    pub(crate) fn write_wal_back(&mut self) {
        if let (Some(path), Some(open)) = (&self.path, &mut self.open)
            && let Some(file) = open.file
        {
            open.wal.write_back(&open.connection, path, file);
        }
    }

    pub(crate) fn close(&mut self) {
        self.open = None;
    }
}

/// The file is not in use any more when it is closed.
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
        let mut connection =
            connect(path, synchronous, deadline).map_err(|failure| match path {
                Some(path) => explain_open(failure, path),
                None => failure.into(),
            })?;
        let wal = Wal::of(&mut connection)?;
        let file = path.map(FileId::of).transpose().map_err(refused)?;
        Ok(Self { connection, file, looked_at: Instant::now(), wal })
    }

    /// Returns it, unless it is of no use any more.
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
    deadline: Instant,
) -> Result<Connection, Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = match path {
        Some(path) => Connection::open_with_flags(path, flags)?,
        None => Connection::open_in_memory_with_flags(flags)?,
    };
    // `busy` waits for the locks of others.
    connection.busy_timeout(Duration::ZERO)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    retry_while_busy(deadline, || schema::prepare(&connection, path.is_some(), synchronous))?;
    Ok(connection)
}

/// As many as there are, and some to spare: none is ever prepared twice.
const STATEMENTS: usize = 24;

/// As long as two processes may use two files under one name.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
