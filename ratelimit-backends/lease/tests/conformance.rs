//! A store keeps every promise behind leases of no length, and behind leases that are closed.

use std::{num::NonZeroUsize, time::Duration};

use ratelimit_backend::ManualClock;
use ratelimit_conformance::suite;
use ratelimit_lease::{LeaseLength, Leased};
use ratelimit_memory::Memory;

const KEYS_MAX: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();

fn leased(clock: ManualClock, length: LeaseLength) -> Leased<Memory<ManualClock>, ManualClock> {
    Leased::with_clock(Memory::with_clock(clock.clone(), KEYS_MAX), length, clock, KEYS_MAX)
}

mod no_length {
    use super::*;
    suite!(async |clock| leased(clock, LeaseLength::NONE));
}

mod closed {
    use super::*;
    suite!(async |clock| {
        let store = leased(clock, LeaseLength::time(Duration::from_secs(1)));
        store.close().await;
        store
    });
}
