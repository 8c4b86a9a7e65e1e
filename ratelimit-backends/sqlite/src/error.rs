//! SQLite's errors, each as a kind and an effect.
//!
//! Its texts name tables and columns, never values, and so no keys. The file's path stands before them.

use std::{
    error::Error,
    path::{Path, PathBuf},
};

use ratelimit_backend::{BackendError, ErrorKind};
use ratelimit_core::StateError;
use rusqlite::{ErrorCode, ffi};

/// The reason why a transaction does not go on.
#[derive(Debug)]
pub(crate) enum Failure {
    /// One batch cannot be decided. It has written nothing, and others may go on without it.
    Refused(BackendError),
    /// The file is not used.
    Foreign(Foreign),
    /// SQLite fails, and the transaction with it.
    Statement(rusqlite::Error),
    /// The transaction fails when it ends.
    Commit(rusqlite::Error),
}

impl Failure {
    /// SQLite's own error where others are in the way.
    pub(crate) fn busy() -> Self {
        Self::Statement(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), None))
    }

    /// Returns true if somebody else holds a lock.
    pub(crate) fn is_busy(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Foreign(_) => false,
            Self::Statement(error) | Self::Commit(error) => kind(error) == ErrorKind::Timeout,
        }
    }

    /// Returns true if a write to the file or its WAL was refused. The shared memory is another matter: it
    /// grows when the WAL has been written.
    pub(crate) fn is_of_writing(&self) -> bool {
        let (Self::Statement(error) | Self::Commit(error)) = self else { return false };
        error.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_IOERR_WRITE)
    }

    /// The error, with the path of the file that it is about.
    pub(crate) fn into_error(self, path: Option<&Path>) -> BackendError {
        let not_applied = BackendError::not_applied;
        match self {
            Self::Refused(error) => error,
            Self::Foreign(cause) => at_path(not_applied(ErrorKind::Incompatible), cause, path),
            Self::Statement(cause) => at_path(not_applied(kind(&cause)), cause, path),
            Self::Commit(cause) => match kind(&cause) {
                // A commit that did not fit, or was not begun, is not in the file.
                kind @ (ErrorKind::Full | ErrorKind::ReadOnly | ErrorKind::Timeout) => {
                    at_path(not_applied(kind), cause, path)
                }
                // The WAL may hold all of it, and whoever opens it next may find it there.
                kind => at_path(BackendError::unknown(kind), cause, path),
            },
        }
    }
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Self {
        Self::Refused(error)
    }
}

impl From<Foreign> for Failure {
    fn from(cause: Foreign) -> Self {
        Self::Foreign(cause)
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Statement(error)
    }
}

/// The reason why a file is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Foreign {
    #[error("file is of application {found:#010x}")]
    Application { found: i32 },
    #[error("file has version {found}, this library uses {uses}")]
    Version { found: i32, uses: i32 },
    #[error("file has tables of something else")]
    Tables,
    #[error("file has journal mode {found} where write-ahead log is needed")]
    JournalMode { found: String },
}

/// A cause, and the file that it is about.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
struct FileError {
    path: PathBuf,
    source: Box<dyn Error + Send + Sync>,
}

/// Gives an error its cause, and the path of its file if it has one.
pub(crate) fn at_path(
    error: BackendError,
    cause: impl Error + Send + Sync + 'static,
    path: Option<&Path>,
) -> BackendError {
    match path {
        Some(path) => error.with_source(FileError { path: path.into(), source: Box::new(cause) }),
        None => error.with_source(cause),
    }
}

fn kind(error: &rusqlite::Error) -> ErrorKind {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => ErrorKind::Timeout,
        Some(ErrorCode::DiskFull) => ErrorKind::Full,
        Some(ErrorCode::ReadOnly) => ErrorKind::ReadOnly,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => ErrorKind::Corrupt,
        Some(ErrorCode::PermissionDenied) => ErrorKind::Auth,
        Some(
            ErrorCode::CannotOpen
            | ErrorCode::SystemIoFailure
            | ErrorCode::OutOfMemory
            | ErrorCode::FileLockingProtocolFailed,
        ) => ErrorKind::Unavailable,
        // No such table, no such column: somebody has changed the schema under us.
        Some(ErrorCode::Unknown | ErrorCode::SchemaChanged | ErrorCode::ConstraintViolation) => {
            ErrorKind::Incompatible
        }
        None if matches!(error, rusqlite::Error::NulError(_)) => ErrorKind::Unavailable,
        _ => ErrorKind::Protocol,
    }
}

#[cfg(test)]
mod tests {
    use ratelimit_backend::Effect;

    use super::*;

    #[test]
    fn only_a_commit_may_leave_a_charge_behind() {
        let cases = [
            (ffi::SQLITE_BUSY, ErrorKind::Timeout, Effect::NotApplied),
            (ffi::SQLITE_LOCKED, ErrorKind::Timeout, Effect::NotApplied),
            (ffi::SQLITE_FULL, ErrorKind::Full, Effect::NotApplied),
            (ffi::SQLITE_READONLY_DBMOVED, ErrorKind::ReadOnly, Effect::NotApplied),
            (ffi::SQLITE_IOERR_WRITE, ErrorKind::Unavailable, Effect::Unknown),
            (ffi::SQLITE_IOERR_FSYNC, ErrorKind::Unavailable, Effect::Unknown),
            (ffi::SQLITE_CANTOPEN, ErrorKind::Unavailable, Effect::Unknown),
            (ffi::SQLITE_CORRUPT, ErrorKind::Corrupt, Effect::Unknown),
            (ffi::SQLITE_NOTADB, ErrorKind::Corrupt, Effect::Unknown),
            (ffi::SQLITE_PERM, ErrorKind::Auth, Effect::Unknown),
            (ffi::SQLITE_ERROR, ErrorKind::Incompatible, Effect::Unknown),
            (ffi::SQLITE_MISUSE, ErrorKind::Protocol, Effect::Unknown),
        ];
        for (code, kind, effect_of_commit) in cases {
            let error = || rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            let statement = Failure::Statement(error()).into_error(None);
            assert_eq!((statement.kind(), statement.effect()), (kind, Effect::NotApplied));
            let commit = Failure::Commit(error()).into_error(None);
            assert_eq!((commit.kind(), commit.effect()), (kind, effect_of_commit), "{code}");
        }
    }
}
