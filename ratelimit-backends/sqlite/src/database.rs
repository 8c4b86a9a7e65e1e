//! The connection to a file, replaced when the file is.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    time::{Duration, Instant},
};

use ratelimit_backend::BackendError;
use rusqlite::{Connection, MAIN_DB, OpenFlags, hooks::Wal, wal::CheckpointMode};

use crate::{
    Synchronous,
    busy::patiently,
    error::Failure,
    probe::{explain_open, explain_write, refused},
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
    /// Pages of the write-ahead log, as of this connection's last commit.
    log_pages: Arc<AtomicI32>,
    /// Pages from which the log is to be written back.
    log_pages_max: i32,
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
        self.open.as_ref().is_some_and(Open::is_log_long)
    }

    /// Writes the log back, as far as others let it.
    pub(crate) fn write_log_back(&mut self) {
        if let Some(open) = &mut self.open {
            open.write_log_back();
        }
    }

    pub(crate) fn close(&mut self) {
        self.open = None;
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
        let log_pages = Arc::new(AtomicI32::new(0));
        let count = {
            let log_pages = Arc::clone(&log_pages);
            move |_: &mut Wal, pages| {
                log_pages.store(pages, Ordering::Relaxed);
                Ok(())
            }
        };
        // Takes the place of SQLite's own checkpoints, which a caller would have to wait for.
        connection.wal_hook(Some(count)).map_err(Failure::from)?;
        Ok(Self {
            connection,
            file: path.map(FileId::of).transpose().map_err(refused)?,
            looked_at: Instant::now(),
            log_pages,
            log_pages_max: LOG_PAGES_MAX,
        })
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

    fn is_log_long(&self) -> bool {
        self.log_pages_max <= self.log_pages.load(Ordering::Relaxed)
    }

    /// Others may write meanwhile, and if they never pause the log never starts anew. When it is
    /// four times as long, they have to wait for the little that was added in the last moments.
    fn write_log_back(&mut self) {
        let pages = self.log_pages.load(Ordering::Relaxed);
        let mut is_done = self.checkpoint(CheckpointMode::PASSIVE);
        if !is_done && LOG_PAGES_MAX.saturating_mul(4) <= pages {
            is_done = self.checkpoint(CheckpointMode::RESTART);
        }
        self.log_pages_max = if is_done {
            self.log_pages.store(0, Ordering::Relaxed);
            LOG_PAGES_MAX
        } else {
            pages.saturating_add(LOG_PAGES_MAX)
        };
    }

    /// Writes the log back, and gives whether that was all of it.
    fn checkpoint(&self, mode: CheckpointMode) -> bool {
        let checkpoint = || Ok(self.connection.wal_checkpoint_v2(Some(MAIN_DB), mode)?);
        patiently(Instant::now(), checkpoint).is_ok_and(|(pages, written)| pages == written)
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
    patiently(due, || schema::prepare(&connection, path.is_some(), synchronous))?;
    Ok(connection)
}

/// Which file a path leads to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    #[cfg(unix)]
    fn of(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt;

        let metadata = fs::metadata(path)?;
        Ok(Self { device: metadata.dev(), inode: metadata.ino() })
    }

    /// Elsewhere a file that is open can be neither deleted nor replaced.
    #[cfg(not(unix))]
    fn of(_: &Path) -> io::Result<Self> {
        Ok(Self { device: 0, inode: 0 })
    }
}

/// 4 MiB: waiting for the disk is rare, and does not take long.
pub(crate) const LOG_PAGES_MAX: i32 = 4_096;

/// As long as two processes may use two files under one name.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
