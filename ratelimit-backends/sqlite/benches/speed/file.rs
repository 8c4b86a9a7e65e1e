//! What is measured: a store in a file, and the keys that are asked about.

use std::path::{Path, PathBuf};

use ratelimit_algorithms::{Limiter, TokenBucket};
use ratelimit_sqlite::Sqlite;
use tempfile::TempDir;

/// A folder with a file for either side.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn ours(&self) -> PathBuf {
        self.0.path().join("ours.db")
    }

    pub(crate) fn theirs(&self) -> PathBuf {
        self.0.path().join("theirs.db")
    }
}

/// A limiter of `capacity` permits, of which one comes back each minute: no key expires meanwhile.
pub(crate) fn open(file: &Path, capacity: u64) -> Limiter<Sqlite> {
    let store = Sqlite::open(file).unwrap();
    Limiter::new(store, "bench", TokenBucket::per_minute(1).burst(capacity)).unwrap()
}

/// Keys of twelve bytes.
pub(crate) fn keys() -> Vec<String> {
    (0..KEYS).map(|key| format!("user:{key:07}")).collect()
}

/// So many that they take more than a page.
const KEYS: usize = 1_000;

/// More than any measurement spends of one key.
pub(crate) const PLENTY: u64 = 1_000_000;
