//! A minute of the demo, simulated: its limit, its leases and its traffic, with a store in memory
//! and manual clocks. One of the holders is killed in the middle. Every run is the same.

use std::{collections::VecDeque, num::NonZeroUsize};

use anyhow::Result;
use ratelimit_algorithms::{Limiter, ManualClock, Timestamp};
use ratelimit_core::Micros;
use ratelimit_lease::{LeaseLength, Leased};
use ratelimit_memory::Memory;

use crate::leases::terms::{PROCESSES, REQUESTS, Terms, WINDOW};

/// The results of a simulated minute.
#[derive(Debug)]
pub(crate) struct Minute {
    /// The most permits that were admitted in a window that ends in a slot, for each slot, in order.
    pub(crate) admitted: Vec<u64>,
    /// The most in any window.
    pub(crate) most: u64,
}

/// The length of the simulation, and of a slot; and when a holder is killed, and another one takes its place.
pub(crate) const LENGTH_MS: u64 = 60_000;
pub(crate) const SLOT_MS: u64 = 100;
pub(crate) const KILLED_MS: u64 = 30_000;
pub(crate) const STARTED_MS: u64 = 40_000;

type Holder = Limiter<Leased<Memory<ManualClock>, ManualClock>>;

/// Simulates a minute of leases under `terms`.
pub(crate) fn simulate(terms: &Terms) -> Result<Minute> {
    let clock = ManualClock::new(at(0));
    let store = Memory::with_clock(clock.clone(), KEYS_MAX);
    let holder = || -> Result<Holder> {
        let length = LeaseLength::time(terms.length);
        let leased = Leased::with_clock(store.clone(), length, clock.clone(), KEYS_MAX);
        let leased = leased.with_held_max(terms.held_max);
        Ok(Limiter::with_policies(leased, terms.policy.clone())?)
    };
    let (mut holders, mut killed) = (Vec::new(), None);
    for _ in 0..PROCESSES {
        holders.push(Some(holder()?));
    }
    let mut window = Window::default();
    let mut minute = Minute { admitted: Vec::new(), most: 0 };
    for now in 0..LENGTH_MS {
        clock.set(at(now));
        match now {
            // Not dropped: that would give back what it holds.
            KILLED_MS => killed = holders[1].take(),
            STARTED_MS => holders[1] = Some(holder()?),
            _ => {}
        }
        let mut admitted = 0;
        for (number, holder) in (0..).zip(&holders) {
            let Some(holder) = holder else { continue };
            if (now + number) % 10 < REQUESTS {
                admitted += u64::from(holder.check("everybody").now()?.is_allowed());
            }
        }
        let count = window.add(now, admitted);
        minute.most = minute.most.max(count);
        match minute.admitted.last_mut() {
            Some(highest) if now % SLOT_MS != 0 => *highest = count.max(*highest),
            _ => minute.admitted.push(count),
        }
    }
    drop(killed);
    Ok(minute)
}

/// The admissions of the last window: half-open, as that of a log is.
#[derive(Debug, Default)]
struct Window {
    admitted: VecDeque<(u64, u64)>,
    sum: u64,
}

impl Window {
    /// Counts permits. Returns the number of all in the window that ends now.
    fn add(&mut self, now: u64, permits: u64) -> u64 {
        self.admitted.push_back((now, permits));
        self.sum += permits;
        while let Some(&(before, permits)) = self.admitted.front()
            && before + WINDOW_MS <= now
        {
            self.sum -= permits;
            self.admitted.pop_front();
        }
        self.sum
    }
}

fn at(millis: u64) -> Timestamp {
    Timestamp::EPOCH + Micros::from_secs(1_700_000_000) + Micros::from_millis(millis)
}

const WINDOW_MS: u64 = WINDOW.as_secs() * 1_000;

const KEYS_MAX: NonZeroUsize = NonZeroUsize::new(8).unwrap();

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leases::terms::LIMIT;

    #[test]
    fn holders_admit_more_than_the_limit_and_no_more_than_the_bound() {
        for share in [0.002, 0.01, 0.05] {
            let terms = Terms::new(share).unwrap();
            let Minute { admitted, most } = simulate(&terms).unwrap();
            assert_eq!(admitted.len(), 600);
            assert_eq!(admitted.iter().max(), Some(&most));
            assert!(LIMIT < most && most <= LIMIT + terms.excess_max, "{most} {terms:?}");
        }
        let exact = simulate(&Terms::new(0.0).unwrap()).unwrap();
        assert_eq!(exact.most, LIMIT);
    }
}
