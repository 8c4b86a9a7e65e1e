//! What SQLite does not tell of a file: its identity, and why it cannot be made, opened or extended.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Seek, SeekFrom, Write},
    path::Path,
};

use ratelimit_backend::{BackendError, ErrorKind};

use crate::error::Failure;

/// The file that a path leads to.
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

/// Explains why the file at `path` could not be opened.
pub(crate) fn explain_open(failure: Failure, path: &Path) -> BackendError {
    let error = BackendError::from(failure);
    if error.kind() != ErrorKind::Unavailable {
        return error;
    }
    probe(path, 0).err().map_or(error, refused)
}

/// Explains why a transaction on the file at `path` failed. To SQLite only a full disk is full, not a quota
/// or a limit on the size of files.
pub(crate) fn explain_write(failure: Failure, path: &Path) -> BackendError {
    if !failure.is_of_writing() {
        return failure.into();
    }
    let wal_bytes = fs::metadata(beside(path, "-wal")).map_or(0, |wal| wal.len());
    match probe(path, wal_bytes).map_err(refused) {
        // The part of the WAL that makes the rest valid comes last, and did not fit.
        Err(full) if full.kind() == ErrorKind::Full => full,
        _ => failure.into(),
    }
}

/// Tries what SQLite does: to make a file in the folder, and to write at its end.
fn probe(path: &Path, end: u64) -> io::Result<()> {
    let probe = beside(path, "-probe");
    let mut file = File::create_new(&probe)?;
    let wrote = file.seek(SeekFrom::Start(end)).and_then(|_| file.write_all(&[0; PROBE_BYTES]));
    let _ = fs::remove_file(&probe);
    wrote
}

fn beside(path: &Path, suffix: &str) -> OsString {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name
}

/// The error of the system, which has left nothing behind.
pub(crate) fn refused(error: io::Error) -> BackendError {
    let kind = match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::ReadOnly,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            ErrorKind::Full
        }
        _ => ErrorKind::Unavailable,
    };
    BackendError::not_applied(kind).with_source(error)
}

/// More than the largest page and its header.
const PROBE_BYTES: usize = 1 << 17;
