//! The write-ahead log (WAL): its length, and writing it back.
//!
//! Writing back waits for the disk, and transactions do not wait for that: a thread does it on a
//! connection of its own, while the WAL goes on growing. The WAL starts anew with the first
//! transaction that finds all of it written back. Where transactions never pause, none does. Then the
//! thread catches up until little is left, and takes the write lock for that little: a transaction
//! waits for it as for any other holder of the lock, within its own deadline. SQLite flushes the file to
//! the disk only when it has written back all of the WAL, so under that lock: a few milliseconds on an
//! idle disk, a second and more on one that others keep busy.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rusqlite::{Connection, MAIN_DB, OpenFlags, config::DbConfig, hooks, wal::CheckpointMode};

use crate::{
    busy::{deadline_after, retry_while_busy},
    error::Failure,
    file::Files,
};

/// The WAL of a connection's file.
pub(crate) struct Wal {
    /// Its length after the connection's last commit.
    pages: Arc<AtomicI32>,
    /// Its length when it was last to be written back.
    seen: i32,
    helper: Option<JoinHandle<()>>,
}

impl Wal {
    /// Counts what this connection commits, in place of SQLite's own checkpoints, which a caller
    /// would have to wait for.
    pub(crate) fn of(connection: &mut Connection) -> Result<Self, Failure> {
        let pages = Arc::new(AtomicI32::new(0));
        let count = {
            let last = Arc::clone(&pages);
            move |_: &mut hooks::Wal, pages| {
                last.store(pages, Ordering::Relaxed);
                Ok(())
            }
        };
        connection.wal_hook(Some(count))?;
        Ok(Self { pages, seen: 0, helper: None })
    }

    /// Returns true if it has grown since it was last written back.
    pub(crate) fn is_long(&self) -> bool {
        let pages = self.pages.load(Ordering::Relaxed);
        // If there are fewer, it has started anew.
        let seen = if pages < self.seen { 0 } else { self.seen };
        WAL_PAGES_MAX <= pages - seen
    }

    /// Has the WAL written back, as far as others let it.
    pub(crate) fn write_back(&mut self, path: &Path, files: Files) {
        self.seen = self.pages.load(Ordering::Relaxed);
        if self.helper.as_ref().is_some_and(|helper| !helper.is_finished()) {
            return;
        }
        self.wait();
        let path = path.to_owned();
        let help = move || drop(write_back(&path, files));
        // If it fails, it is left for the next time.
        self.helper = thread::Builder::new().name("ratelimit-wal".to_owned()).spawn(help).ok();
    }

    /// Waits until nothing is being written back.
    pub(crate) fn wait(&mut self) {
        if let Some(helper) = self.helper.take() {
            // It has nothing to panic about.
            let _ = helper.join();
        }
    }
}

/// Writes the WAL of a file back, on connections of its own.
fn write_back(path: &Path, files: Files) -> Result<(), Failure> {
    // Somebody else's file is left alone, and a WAL that was deleted is not made anew.
    let is_same = || Files::of(path).is_ok_and(|now| now == files);
    if !is_same() {
        return Ok(());
    }
    let connection = connect(path)?;
    if is_same() && catch_up(&connection)? {
        let writer = connect(path)?;
        retry_while_busy(deadline_after(LOCKING_MAX), || {
            Ok(writer.execute_batch("BEGIN IMMEDIATE")?)
        })?;
        checkpoint(&connection)?;
        writer.execute_batch("ROLLBACK")?;
    }
    Ok(())
}

fn connect(path: &Path) -> Result<Connection, Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.busy_timeout(Duration::ZERO)?;
    // It finds the WAL when it reads for the first time, and has none to write back before.
    retry_while_busy(deadline_after(LOCKING_MAX), || {
        Ok(connection.pragma_query_value(None, "schema_version", |_| Ok(()))?)
    })?;
    Ok(connection)
}

/// Writes back while the WAL grows; returns true if it is long for all that, and little is left.
fn catch_up(connection: &Connection) -> Result<bool, Failure> {
    let mut written_before = 0;
    for _ in 0..PASSES_MAX {
        let (pages, written) = checkpoint(connection)?;
        if pages < 2 * WAL_PAGES_MAX || written == written_before {
            // It starts anew at the next pause; or a reader needs the rest.
            return Ok(false);
        }
        if pages - written <= REST_PAGES_MAX {
            return Ok(true);
        }
        written_before = written;
    }
    Ok(false)
}

/// Writes back as far as readers let it; returns the length of the WAL, and of the part written back.
pub(crate) fn checkpoint(connection: &Connection) -> Result<(i32, i32), Failure> {
    Ok(connection.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::PASSIVE)?)
}

/// 4 MiB: waiting for the disk is rare, and does not take long.
pub(crate) const WAL_PAGES_MAX: i32 = 4_096;

/// Passes over a WAL that grows meanwhile: each finds what was added during the one before.
const PASSES_MAX: usize = 16;

/// Pages that are written back under the write lock: some milliseconds, without the flush.
const REST_PAGES_MAX: i32 = 1_024;

/// The time to get the write lock, which others take by turns.
const LOCKING_MAX: Duration = Duration::from_secs(1);
