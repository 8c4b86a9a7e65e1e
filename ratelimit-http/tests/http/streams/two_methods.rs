//! A store of two methods, as an application has its own.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use ratelimit_algorithms::BackendError;
use ratelimit_backend::{Change, Store, StoreBackend, Swap, Versioned};

/// Bytes behind a mutex, a turn of the executor away.
#[derive(Default)]
pub(super) struct Map(Mutex<HashMap<Vec<u8>, Vec<u8>>>);

/// A backend over a new map.
pub(super) fn two_methods() -> Arc<StoreBackend<Map>> {
    Arc::new(StoreBackend::new(Map::default()))
}

#[async_trait]
impl Store for Map {
    /// The bytes themselves.
    type Version = Vec<u8>;

    async fn load(&self, key: &[u8]) -> Result<Option<Versioned<Vec<u8>>>, BackendError> {
        tokio::task::yield_now().await;
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(map.get(key).map(|bytes| Versioned { bytes: bytes.clone(), version: bytes.clone() }))
    }

    async fn compare_and_swap(&self, swaps: &[Swap<'_, Vec<u8>>]) -> Result<bool, BackendError> {
        tokio::task::yield_now().await;
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
