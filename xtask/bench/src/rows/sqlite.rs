//! Decisions a second of a store in a file, beside a loop written by hand.

mod concurrent;
mod handwritten;
mod one_caller;
mod processes;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
use ratelimit_algorithms::Limiter;
use ratelimit_sqlite::{Sqlite, SqliteSettings};
use tempfile::TempDir;

pub(crate) use self::processes::{PROBE, probe};
use crate::{
    bench::Bench,
    concurrent::KEYS,
    setup::{Outcome, key},
};

pub(crate) fn rows(bench: &mut Bench<'_>) -> Result<()> {
    one_caller::rows(bench)?;
    concurrent::rows(bench)?;
    processes::rows(bench)
}

/// A folder with a file for either side.
struct Files(TempDir);

impl Files {
    fn new() -> Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    fn ours(&self) -> PathBuf {
        self.0.path().join("ours.db")
    }

    fn theirs(&self) -> PathBuf {
        self.0.path().join("theirs.db")
    }
}

fn open(file: &Path, outcome: Outcome, deadline: Duration) -> Result<Limiter<Sqlite>> {
    let store = SqliteSettings::file(file).with_deadline(deadline).open()?;
    Ok(Limiter::new(store, "bench", outcome.bucket())?)
}

/// The store's own.
const DEADLINE: Duration = Duration::from_millis(100);

fn keys() -> Vec<String> {
    (0..KEYS).map(key).collect()
}
