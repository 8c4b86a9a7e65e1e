//! A store in a folder, for all processes of a host: a second run finds the state of the first.
//!
//! A swap holds the lock file, writes the table anew beside the old one, and renames it. So it is
//! whole after a crash, and slow; a real store should wait for the disk outside of the executor.

use std::{
    collections::HashMap,
    error::Error,
    fs::{self, File},
    io,
    path::Path,
    time::Duration,
};

use async_trait::async_trait;
use ratelimit_backend::{
    Backend, BackendError, Change, ErrorKind, Store, StoreBackend, Swap, Versioned,
};
use ratelimit_core::{Action, Batch, Check, Key, Policy, fixed_window};

pub(crate) struct Folder<P>(pub(crate) P);

type Table = HashMap<Vec<u8>, Vec<u8>>;

impl<P: AsRef<Path>> Folder<P> {
    /// The table, to be read and written as long as the lock beside it is held.
    #[expect(clippy::incompatible_msrv, reason = "`File::lock` is of Rust 1.89")]
    fn open(&self) -> io::Result<(File, Table)> {
        let lock = File::create(self.0.as_ref().join("lock"))?;
        lock.lock()?;
        match fs::read(self.0.as_ref().join("table.json")) {
            Ok(text) => Ok((lock, serde_json::from_slice::<Vec<_>>(&text)?.into_iter().collect())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((lock, Table::new())),
            Err(error) => Err(error),
        }
    }

    fn swap(&self, swaps: &[Swap<'_, Vec<u8>>]) -> io::Result<bool> {
        let (_lock, mut table) = self.open()?;
        if swaps.iter().any(|swap| table.get(swap.key) != swap.loaded) {
            return Ok(false);
        }
        for swap in swaps {
            match swap.change {
                Change::Keep => {}
                Change::Put { value, .. } => drop(table.insert(swap.key.into(), value.into())),
                Change::Remove => drop(table.remove(swap.key)),
            }
        }
        let next = self.0.as_ref().join("next.json");
        fs::write(&next, serde_json::to_vec(&table.iter().collect::<Vec<_>>())?)?;
        fs::rename(next, self.0.as_ref().join("table.json"))?;
        Ok(true)
    }
}

#[async_trait]
impl<P: AsRef<Path> + Send + Sync> Store for Folder<P> {
    /// Equal bytes are the same state, so they are a version of themselves.
    type Version = Vec<u8>;

    async fn load(&self, key: &[u8]) -> Result<Option<Versioned<Vec<u8>>>, BackendError> {
        let (_lock, mut table) = self.open().map_err(failed)?;
        Ok(table.remove(key).map(|bytes| Versioned { version: bytes.clone(), bytes }))
    }

    async fn compare_and_swap(&self, swaps: &[Swap<'_, Vec<u8>>]) -> Result<bool, BackendError> {
        self.swap(swaps).map_err(failed)
    }
}

/// Nothing that can fail comes after the rename.
fn failed(error: io::Error) -> BackendError {
    BackendError::not_applied(ErrorKind::Unavailable).with_source(error)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join("ratelimit-example");
    fs::create_dir_all(&folder)?;
    let backend = StoreBackend::new(Folder(folder));
    let quota = fixed_window::Quota::new(10, Duration::from_secs(60), Default::default())?;
    let policy = Policy::new("api", quota)?;
    let check = Check::new(&policy, Key::new("user:42")?, 1)?;
    let decisions = backend.apply(Batch::one(&check), Action::Spend).await?;
    println!("{} of {} left", decisions[0].remaining, decisions[0].limit);
    Ok(())
}
