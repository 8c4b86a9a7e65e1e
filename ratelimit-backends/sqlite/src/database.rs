//! The connection to a file, replaced when the file is.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use ratelimit_backend::{BackendError, ErrorKind};
use rusqlite::{Connection, OpenFlags, config::DbConfig};

use crate::{
    Synchronous,
    busy::{deadline_after, retry_while_busy},
    error::{Failure, at_path},
    file::{self, Files, explain_open, explain_write, refused},
    schema,
    wal::{Wal, checkpoint},
};

pub(crate) struct Database {
    /// `None` for a database in memory.
    path: Option<PathBuf>,
    synchronous: Synchronous,
    open: Option<Open>,
}

struct Open {
    connection: Connection,
    files: Option<Files>,
    looked_at: Instant,
    /// It only waits to write back a WAL that was deleted.
    is_closing: bool,
    wal: Wal,
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
        let mut database = Self { path, synchronous, open: None };
        database.connection(deadline)?;
        Ok(database)
    }

    /// The connection. It is a new one if the file has been replaced, or if a transaction could
    /// not be rolled back.
    pub(crate) fn connection(&mut self, deadline: Instant) -> Result<&Connection, BackendError> {
        self.look();
        let path = self.path.as_deref();
        let open = match self.open.take_if(|open| !open.is_closing) {
            Some(open) => open,
            None if self.open.is_some() => return Err(wal_deleted(path)),
            None => Open::new(path, self.synchronous, deadline)?,
        };
        Ok(&self.open.insert(open).connection)
    }

    /// Closes the connection if it is of no use any more: before a new one is opened, since they may
    /// share a file's companions.
    pub(crate) fn look(&mut self) {
        let (path, Some(open)) = (self.path.as_deref(), &mut self.open) else { return };
        match open.change(path) {
            Change::None => {}
            Change::Replaced => self.let_go(),
            Change::WalDeleted => {
                // Closing writes a WAL back for its last user only, and a newcomer who looks at the
                // file at that moment hides who is the last. So each user does it, before.
                open.is_closing = true;
                if open.write_back().is_ok() {
                    self.let_go();
                }
            }
        }
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
            && let Some(files) = open.files
        {
            open.wal.write_back(path, files);
        }
    }

    /// Closes the connection, after writing back a WAL that was deleted since the last look.
    pub(crate) fn close(&mut self) {
        if let (Some(path), Some(open)) = (&self.path, &self.open)
            && matches!(open.change_now(path), Change::WalDeleted)
        {
            // If a reader keeps it from that for so long, nobody else is left to do it.
            let _ = retry_while_busy(deadline_after(CLOSING_MAX), || open.write_back());
        }
        self.let_go();
    }

    fn let_go(&mut self) {
        let Some(open) = self.open.take() else { return };
        let is_ours = |files: Files| self.path.as_deref().is_some_and(|path| files.has_wal(path));
        if !open.files.is_some_and(is_ours) {
            // SQLite would delete the companions by their names, and they are another file's.
            let _ = open.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        }
    }
}

fn wal_deleted(path: Option<&Path>) -> BackendError {
    at_path(BackendError::not_applied(ErrorKind::Unavailable), WalDeleted, path)
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
        Ok(Self {
            connection,
            files: files.transpose()?,
            looked_at: Instant::now(),
            is_closing: false,
            wal,
        })
    }

    /// Looks at its files once in a while.
    fn change(&mut self, path: Option<&Path>) -> Change {
        if !self.connection.is_autocommit() {
            return Change::Replaced;
        }
        let Some(path) = path else { return Change::None };
        if !self.is_closing && self.looked_at.elapsed() < LOOK_AGAIN {
            return Change::None;
        }
        self.looked_at = Instant::now();
        self.change_now(path)
    }

    fn change_now(&self, path: &Path) -> Change {
        match (self.files, Files::of(path)) {
            (None, _) => Change::None,
            (Some(files), Ok(found)) if found == files => Change::None,
            (Some(files), Ok(found)) if found.file == files.file => Change::WalDeleted,
            _ => Change::Replaced,
        }
    }

    /// Writes all of the WAL back. Fails while somebody else does, or reads what was before.
    fn write_back(&self) -> Result<(), Failure> {
        let (pages, written) = checkpoint(&self.connection)?;
        if written < pages {
            return Err(Failure::busy());
        }
        Ok(())
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
            retry_while_busy(deadline, || refuse_deleted_wal(path)).map_err(|failure| {
                if failure.is_busy() { wal_deleted(Some(path)).into() } else { failure }
            })?;
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

/// Fails while others use a WAL that was deleted: SQLite would make another, under the same shared memory.
fn refuse_deleted_wal(path: &Path) -> Result<(), Failure> {
    // The last user deletes the shared memory first.
    if !file::shared_memory(path).exists() || file::wal(path).exists() || !path.exists() {
        return Ok(());
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::ZERO)?;
    // Then SQLite locks the file, which others share while they have it open, before it makes a WAL.
    connection.pragma_update(None, "locking_mode", "exclusive")?;
    Ok(connection.pragma_query_value(None, "schema_version", |_| Ok(()))?)
}

/// As many as there are, and some to spare: none is ever prepared twice.
const STATEMENTS: usize = 24;

/// As long as two processes may use two files under one name.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The longest that closing waits for a reader.
const CLOSING_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    fn open(path: &Path) -> Result<Database, BackendError> {
        Database::open(Some(path.to_owned()), Synchronous::Normal, Instant::now())
    }

    fn charge(database: &mut Database) {
        let connection = database.connection(Instant::now()).unwrap();
        connection.execute_batch("UPDATE total SET records = records + 1").unwrap();
    }

    fn charged(connection: &Connection) -> u32 {
        connection.query_row("SELECT records FROM total", [], |row| row.get(0)).unwrap()
    }

    /// Lets the time pass after which it looks.
    fn look(database: &mut Database) {
        if let Some(open) = &mut database.open {
            open.looked_at -= LOOK_AGAIN;
        }
        database.look();
    }

    fn assert_refused<T>(result: Result<T, BackendError>) {
        let error = result.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let cause = error.to_string();
        assert!(cause.ends_with(&WalDeleted.to_string()), "{cause}");
    }

    // FAULTS 184.
    #[test]
    fn charges_in_a_deleted_log_outlive_all_who_have_it_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("limits.db");
        let [mut one, mut other] = [(); 2].map(|()| open(&path).unwrap());
        charge(&mut one);
        charge(&mut other);
        std::fs::remove_file(file::wal(&path)).unwrap();

        assert_refused(open(&path));
        assert!(!file::wal(&path).exists(), "a newcomer has made another");
        charge(&mut other);
        look(&mut one);
        assert_refused(one.connection(Instant::now()));
        charge(&mut other);
        assert_refused(open(&path));
        look(&mut other);
        assert_eq!(charged(open(&path).unwrap().connection(Instant::now()).unwrap()), 4);
        assert_eq!(charged(one.connection(Instant::now()).unwrap()), 4);
    }

    /// A stranger, who never looks: its transaction keeps others from writing back, and its connection
    /// keeps them from being the last.
    // FAULTS 184.
    #[test]
    fn charges_in_a_deleted_log_outlive_a_reader() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("limits.db");
        let mut one = open(&path).unwrap();
        charge(&mut one);
        let stranger = Connection::open(&path).unwrap();
        stranger.execute_batch("BEGIN").unwrap();
        assert_eq!(charged(&stranger), 1);
        charge(&mut one);
        std::fs::remove_file(file::wal(&path)).unwrap();

        for _ in 0..3 {
            look(&mut one);
            assert_refused(one.connection(Instant::now()));
        }
        stranger.execute_batch("COMMIT").unwrap();
        look(&mut one);
        assert_refused(one.connection(Instant::now()));
        drop(stranger);
        assert_eq!(charged(one.connection(Instant::now()).unwrap()), 2);
    }

    #[test]
    fn charges_in_a_deleted_log_outlive_a_close_beside_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("limits.db");
        let mut one = open(&path).unwrap();
        let stranger = Connection::open(&path).unwrap();
        assert_eq!(charged(&stranger), 0);
        charge(&mut one);
        std::fs::remove_file(file::wal(&path)).unwrap();
        one.close();
        drop(stranger);
        assert_eq!(charged(open(&path).unwrap().connection(Instant::now()).unwrap()), 1);
    }

    /// As a crash leaves it, if somebody deletes the log after it.
    #[test]
    fn shared_memory_without_users_locks_nobody_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("limits.db");
        open(&path).unwrap().close();
        std::fs::write(file::shared_memory(&path), [7; 32_768]).unwrap();
        assert_eq!(charged(open(&path).unwrap().connection(Instant::now()).unwrap()), 0);
    }

    // FAULTS 184.
    #[test]
    fn whoever_lets_go_of_a_replaced_file_leaves_the_new_one_its_companions() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("limits.db");
        let mut old = open(&path).unwrap();
        charge(&mut old);
        for file in [path.clone(), file::wal(&path), file::shared_memory(&path)] {
            std::fs::remove_file(file).unwrap();
        }
        let mut new = open(&path).unwrap();
        charge(&mut new);
        look(&mut old);
        look(&mut new);
        assert!(!new.open.as_ref().unwrap().is_closing, "its log was deleted");
        assert!(file::shared_memory(&path).exists(), "its shared memory was deleted");
        charge(&mut old);
        assert_eq!(charged(new.connection(Instant::now()).unwrap()), 2);
    }
}
