//! A custom store: a `HashMap` behind a mutex. It never drops an entry, so it ignores TTLs.

use std::{collections::HashMap, error::Error, sync::Mutex, time::Duration};

use async_trait::async_trait;
use ratelimit_backend::{Backend, BackendError, Change, Store, StoreBackend, Swap, Versioned};
use ratelimit_core::{Action, Batch, Check, Key, Policy, token_bucket};

#[derive(Default)]
pub(crate) struct Map(Mutex<HashMap<Vec<u8>, Vec<u8>>>);

#[async_trait]
impl Store for Map {
    /// Equal bytes are the same state, so they are a version of themselves.
    type Version = Vec<u8>;

    async fn load(&self, key: &[u8]) -> Result<Option<Versioned<Vec<u8>>>, BackendError> {
        let map = self.0.lock().expect("no holder panics");
        Ok(map.get(key).map(|bytes| Versioned { bytes: bytes.clone(), version: bytes.clone() }))
    }

    async fn compare_and_swap(&self, swaps: &[Swap<'_, Vec<u8>>]) -> Result<bool, BackendError> {
        let mut map = self.0.lock().expect("no holder panics");
        if swaps.iter().any(|swap| map.get(swap.key) != swap.loaded) {
            return Ok(false);
        }
        for swap in swaps {
            match swap.change {
                Change::Keep => {}
                Change::Put { value, .. } => drop(map.insert(swap.key.into(), value.into())),
                Change::Remove => drop(map.remove(swap.key)),
            }
        }
        Ok(true)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let backend = StoreBackend::new(Map::default());
    let policy = Policy::new("api", token_bucket::Quota::new(10, 1, Duration::from_secs(1))?)?;
    let check = Check::new(&policy, Key::new("user:42")?, 1)?;
    let decisions = backend.apply(Batch::one(&check), Action::Spend).await?;
    println!("{} of {} left", decisions[0].remaining, decisions[0].limit);
    Ok(())
}
