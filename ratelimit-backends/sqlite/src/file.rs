//! Work on a file that SQLite leaves to us: keep it from others, tell which one it is, and why it cannot be
//! made, opened or extended.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use ratelimit_backend::{BackendError, ErrorKind};

use crate::error::{Failure, at_path};

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

/// A file, and its write-ahead log if that is there.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) struct Files {
    pub(crate) file: FileId,
    wal: Option<FileId>,
}

impl Files {
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { file: FileId::of(path)?, wal: FileId::of(&wal(path)).ok() })
    }

    /// Returns true if the write-ahead log beside `path` is its own.
    pub(crate) fn has_wal(self, path: &Path) -> bool {
        self.wal == FileId::of(&wal(path)).ok()
    }
}

/// Makes an empty file for its owner alone, unless there is one. SQLite gives a file's companions the
/// same mode, whatever the process would give to new files.
pub(crate) fn create(path: &Path) -> io::Result<()> {
    match create_private(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// An existing file is never opened: closing it again would release the locks of this process.
fn create_private(path: impl AsRef<Path>) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, OWNER_ONLY);
    let file = options.open(path)?;
    // The mode above is an upper bound.
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(OWNER_ONLY))?;
    Ok(file)
}

/// The file's write-ahead log.
pub(crate) fn wal(path: &Path) -> PathBuf {
    beside(path, "-wal").into()
}

/// The file's shared memory, which is there while somebody has the file open.
pub(crate) fn shared_memory(path: &Path) -> PathBuf {
    beside(path, "-shm").into()
}

/// Explains why the file at `path` could not be opened.
pub(crate) fn explain_open(failure: Failure, path: &Path) -> BackendError {
    let error = failure.into_error(Some(path));
    if error.kind() != ErrorKind::Unavailable {
        return error;
    }
    probe(path, 0).err().map_or(error, |cause| refused(cause, path))
}

/// Explains why a transaction on the file at `path` failed. To SQLite only a full disk is full, not a
/// quota or a limit on the size of files.
pub(crate) fn explain_write(failure: Failure, path: &Path) -> BackendError {
    if !failure.is_of_writing() {
        return failure.into_error(Some(path));
    }
    let wal_bytes = fs::metadata(wal(path)).map_or(0, |wal| wal.len());
    match probe(path, wal_bytes).map_err(|cause| refused(cause, path)) {
        // The part of the WAL that makes the rest valid comes last, and did not fit.
        Err(full) if full.kind() == ErrorKind::Full => full,
        _ => failure.into_error(Some(path)),
    }
}

/// Tries what SQLite does: to make a file in the folder, and to write at its end.
fn probe(path: &Path, end: u64) -> io::Result<()> {
    let probe = beside(path, "-probe");
    let mut file = create_private(&probe)?;
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
pub(crate) fn refused(error: io::Error, path: &Path) -> BackendError {
    let kind = match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::ReadOnly,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            ErrorKind::Full
        }
        _ => ErrorKind::Unavailable,
    };
    at_path(BackendError::not_applied(kind), error, Some(path))
}

/// More than the largest page and its header.
const PROBE_BYTES: usize = 1 << 17;

#[cfg(unix)]
const OWNER_ONLY: u32 = 0o600;
