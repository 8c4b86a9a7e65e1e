//! Cooldowns: the keys whose servers have asked to wait.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::key::RequestKey;

/// The end of each key's cooldown.
#[derive(Debug, Default)]
pub(super) struct Cooldowns(Mutex<HashMap<RequestKey, Instant>>);

impl Cooldowns {
    /// Starts a cooldown of `key`; one that ends later stays.
    pub(super) fn start(&self, key: &RequestKey, length: Duration, now: Instant) {
        let Some(until) = now.checked_add(length.min(COOLDOWN_MAX)) else { return };
        let mut ends = self.lock();
        if let Some(known) = ends.get_mut(key) {
            *known = until.max(*known);
            return;
        }
        if KEYS_MAX <= ends.len() {
            ends.retain(|_, until| now < *until);
        }
        if ends.len() < KEYS_MAX {
            ends.insert(key.clone(), until);
        }
    }

    /// Returns the end of the key's cooldown, if it is after `now`.
    pub(super) fn end(&self, key: &RequestKey, now: Instant) -> Option<Instant> {
        let mut ends = self.lock();
        let until = *ends.get(key)?;
        if now < until {
            return Some(until);
        }
        ends.remove(key);
        None
    }

    /// Ignores poison: no entry is ever half written.
    fn lock(&self) -> MutexGuard<'_, HashMap<RequestKey, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The longest cooldown: a server's mistake should not last forever.
const COOLDOWN_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The most cooldowns that are kept.
const KEYS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_cools_down_for_the_longest_time_that_was_asked_for() {
        let (cooldowns, now, key) = (Cooldowns::default(), Instant::now(), RequestKey::from("a"));
        let after = |seconds| now + Duration::from_secs(seconds);
        cooldowns.start(&key, Duration::from_secs(9), now);
        cooldowns.start(&key, Duration::from_secs(3), now);
        assert_eq!(cooldowns.end(&key, after(8)), Some(after(9)));
        assert_eq!(cooldowns.end(&RequestKey::from("b"), now), None);
        assert_eq!(cooldowns.end(&key, after(9)), None);
        assert!(cooldowns.lock().is_empty(), "nothing is left behind");
    }

    #[test]
    fn cooldowns_are_limited_in_length_and_number() {
        let (cooldowns, now) = (Cooldowns::default(), Instant::now());
        for number in 0..=KEYS_MAX as u64 {
            cooldowns.start(&number.into(), Duration::MAX, now);
        }
        assert_eq!(cooldowns.end(&0.into(), now), Some(now + COOLDOWN_MAX));
        assert_eq!(cooldowns.lock().len(), KEYS_MAX);
        cooldowns.start(&RequestKey::from("new"), COOLDOWN_MAX, now + COOLDOWN_MAX);
        assert_eq!(cooldowns.lock().len(), 1, "cooldowns that are over make room");
    }
}
