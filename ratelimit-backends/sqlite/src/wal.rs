//! The write-ahead log (WAL): its length, and writing it back.
//!
//! Writing back waits for the disk, and transactions need not wait for that: a thread does it on a
//! connection of its own, while the WAL goes on growing. It starts anew with the first transaction
//! that finds all of it written back. Where transactions never pause, none does; then they have to
//! wait once in a while for the little that was added in the last moments.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use rusqlite::{Connection, MAIN_DB, OpenFlags, config::DbConfig, hooks, wal::CheckpointMode};

use crate::{busy::retry_while_busy, error::Failure, file::FileId};

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

    /// Writes it back, as far as others let it: meanwhile, or if it is four times as long at once.
    pub(crate) fn write_back(&mut self, connection: &Connection, path: &Path, file: FileId) {
        self.seen = self.pages.load(Ordering::Relaxed);
        if self.seen < 4 * WAL_PAGES_MAX {
            self.write_back_meanwhile(path, file);
            return;
        }
        self.wait();
        if checkpoint(connection, CheckpointMode::RESTART) {
            self.pages.store(0, Ordering::Relaxed);
            self.seen = 0;
        }
    }

    fn write_back_meanwhile(&mut self, path: &Path, file: FileId) {
        if self.helper.as_ref().is_some_and(|helper| !helper.is_finished()) {
            return;
        }
        self.wait();
        let path = path.to_owned();
        let help = move || drop(write_back(&path, file));
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

/// Writes the WAL of a file back, on a connection of its own.
fn write_back(path: &Path, file: FileId) -> Result<(), rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // Somebody else's file is left alone.
    if FileId::of(path).is_ok_and(|now| now == file) {
        checkpoint(&connection, CheckpointMode::PASSIVE);
    }
    Ok(())
}

/// Writes the WAL back; returns true if that was all of it.
fn checkpoint(connection: &Connection, mode: CheckpointMode) -> bool {
    let checkpoint = || Ok(connection.wal_checkpoint_v2(Some(MAIN_DB), mode)?);
    retry_while_busy(Instant::now(), checkpoint).is_ok_and(|(pages, written)| pages == written)
}

/// 4 MiB: waiting for the disk is rare, and does not take long.
pub(crate) const WAL_PAGES_MAX: i32 = 4_096;
