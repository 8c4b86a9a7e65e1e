//! SQLite's errors, each as a kind and an effect.
//!
//! Its texts name tables, columns and paths, never values, and so no keys.

use ratelimit_backend::{BackendError, ErrorKind};
use ratelimit_core::StateError;
use rusqlite::{ErrorCode, ffi};

/// The reason why a transaction does not go on.
#[derive(Debug)]
pub(crate) enum Failure {
    /// One batch cannot be decided. It has written nothing, and others may go on without it.
    Refused(BackendError),
    /// SQLite fails, and the transaction with it.
    Statement(rusqlite::Error),
    /// The transaction fails when it ends.
    Commit(rusqlite::Error),
}

impl Failure {
    /// Returns true if somebody else holds a lock.
    pub(crate) fn is_busy(&self) -> bool {
        match self {
            Self::Refused(_) => false,
            Self::Statement(error) | Self::Commit(error) => kind(error) == ErrorKind::Timeout,
        }
    }

    /// Returns true if a write to the file or its WAL was refused. The shared memory is another matter: it
    /// grows when the WAL has been written.
    pub(crate) fn is_of_writing(&self) -> bool {
        let (Self::Statement(error) | Self::Commit(error)) = self else { return false };
        error.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_IOERR_WRITE)
    }
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Self {
        Self::Refused(error)
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

impl From<Failure> for BackendError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(error) => error,
            Failure::Statement(error) => Self::not_applied(kind(&error)).with_source(error),
            Failure::Commit(error) => match kind(&error) {
                // A commit that did not fit, or was not begun, is not in the file.
                kind @ (ErrorKind::Full | ErrorKind::ReadOnly | ErrorKind::Timeout) => {
                    Self::not_applied(kind).with_source(error)
                }
                // The WAL may hold all of it, and whoever opens it next may find it there.
                kind => Self::unknown(kind).with_source(error),
            },
        }
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
            let statement = BackendError::from(Failure::Statement(error()));
            assert_eq!((statement.kind(), statement.effect()), (kind, Effect::NotApplied));
            let commit = BackendError::from(Failure::Commit(error()));
            assert_eq!((commit.kind(), commit.effect()), (kind, effect_of_commit), "{code}");
        }
    }
}
