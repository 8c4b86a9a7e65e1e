//! The limit of the demo, and the terms of its leases.

use std::time::Duration;

use anyhow::Result;
use ratelimit_algorithms::{Algorithm, Policy, SlidingWindowLog};
use ratelimit_core::{LeaseTerms, Micros};

/// The limit that all processes share: a log, so that no window of ten seconds has more without leases.
pub(crate) const LIMIT: u64 = 10_000;
pub(crate) const WINDOW: Duration = Duration::from_secs(10);

/// The number of processes, and of the requests that each sends itself in ten milliseconds: all together a fifth
/// more than the limit lets through.
pub(crate) const PROCESSES: usize = 4;
pub(crate) const REQUESTS: u64 = 3;

/// The same in a second.
pub(crate) const REQUESTS_PER_SECOND: u64 = 100 * REQUESTS;

/// The terms of leases whose length is a share of the window.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) policy: Policy,
    /// The length of a lease.
    pub(crate) length: Duration,
    /// The most permits that one process holds: its part of the share.
    pub(crate) held_max: u64,
    /// The most permits that all processes together admit above the limit, in any window.
    pub(crate) excess_max: u64,
}

impl Terms {
    /// The terms of a share between 0 and 1.
    pub(crate) fn new(share: f64) -> Result<Self> {
        let log = SlidingWindowLog::per(LIMIT, WINDOW);
        let policy = Policy::new("leased", Algorithm::try_from(log)?)?;
        let length = WINDOW.mul_f64(share);
        let terms = LeaseTerms::new(&policy, Micros::from_duration_floor(length))?;
        let processes = PROCESSES as u64;
        let terms = terms.with_held_max(terms.held_max() / processes);
        let (held_max, excess_max) = (terms.held_max(), terms.excess_max(processes));
        Ok(Self { policy, length, held_max, excess_max })
    }
}
