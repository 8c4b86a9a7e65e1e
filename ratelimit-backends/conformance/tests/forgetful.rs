//! It does not matter when a store forgets: one that does as soon as it may keeps every promise, and
//! so decides as the reference does, which never forgets.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
};

use async_trait::async_trait;
use ratelimit_backend::{
    BackendError, Change, Clock, ManualClock, Store, StoreBackend, Swap, Versioned,
};
use ratelimit_conformance::{Effort, suite};
use ratelimit_core::Timestamp;

struct Forgetful {
    clock: ManualClock,
    entries: Mutex<Entries>,
}

/// The bytes under a key, and the end of their time to live.
type Entries = HashMap<Vec<u8>, (Vec<u8>, Timestamp)>;

impl Forgetful {
    /// The entries that are not over, and the time.
    fn entries(&self) -> (MutexGuard<'_, Entries>, Timestamp) {
        let mut entries = self.entries.lock().expect("no holder panics");
        let now = self.clock.now().expect("tests stay within representable time");
        entries.retain(|_, (_, end)| now < *end);
        (entries, now)
    }
}

#[async_trait]
impl Store for Forgetful {
    type Version = Vec<u8>;

    async fn load(&self, key: &[u8]) -> Result<Option<Versioned<Vec<u8>>>, BackendError> {
        let (entries, _) = self.entries();
        let versioned =
            |(bytes, _): &(Vec<u8>, _)| Versioned { bytes: bytes.clone(), version: bytes.clone() };
        Ok(entries.get(key).map(versioned))
    }

    async fn compare_and_swap(&self, swaps: &[Swap<'_, Vec<u8>>]) -> Result<bool, BackendError> {
        let (mut entries, now) = self.entries();
        let is_as_loaded =
            |swap: &Swap<'_, Vec<u8>>| entries.get(swap.key).map(|(bytes, _)| bytes) == swap.loaded;
        if !swaps.iter().all(is_as_loaded) {
            return Ok(false);
        }
        for swap in swaps {
            match swap.change {
                Change::Keep => {}
                Change::Put { value, ttl } => {
                    entries.insert(swap.key.into(), (value.into(), now + ttl));
                }
                Change::Remove => drop(entries.remove(swap.key)),
            }
        }
        Ok(true)
    }
}

suite!(
    async |clock| {
        let store = Forgetful { clock: clock.clone(), entries: Mutex::default() };
        StoreBackend::with_clock(store, clock)
    },
    Effort::new().with_trace_steps(100_000).with_keys(2_000)
);
