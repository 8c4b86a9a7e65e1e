//! The keys whose requests wait because a server has asked for it.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::RequestKey;

/// Until when each of them waits.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<HashMap<RequestKey, Instant>>);

impl Held {
    /// Lets requests of `key` wait for so long, or as long as they have to already.
    pub(super) fn hold(&self, key: &RequestKey, length: Duration, now: Instant) {
        let Some(until) = now.checked_add(length.min(HOLD_MAX)) else { return };
        let mut held = self.lock();
        if let Some(known) = held.get_mut(key) {
            *known = until.max(*known);
            return;
        }
        if KEYS_MAX <= held.len() {
            held.retain(|_, until| now < *until);
        }
        if held.len() < KEYS_MAX {
            held.insert(key.clone(), until);
        }
    }

    /// Until when requests of `key` wait, if that is later than `now`.
    pub(super) fn until(&self, key: &RequestKey, now: Instant) -> Option<Instant> {
        let mut held = self.lock();
        let until = *held.get(key)?;
        if now < until {
            return Some(until);
        }
        held.remove(key);
        None
    }

    /// A poisoned lock is as good as any: no entry is ever half written.
    fn lock(&self) -> MutexGuard<'_, HashMap<RequestKey, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The longest that a server is obeyed: a mistake of its should not last for ever.
const HOLD_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// More servers than these that all want to be left alone are not remembered.
const KEYS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_held_as_long_as_the_longest_that_was_asked_for() {
        let (held, now, key) = (Held::default(), Instant::now(), RequestKey::from("a"));
        let after = |seconds| now + Duration::from_secs(seconds);
        held.hold(&key, Duration::from_secs(9), now);
        held.hold(&key, Duration::from_secs(3), now);
        assert_eq!(held.until(&key, after(8)), Some(after(9)));
        assert_eq!(held.until(&RequestKey::from("b"), now), None);
        assert_eq!(held.until(&key, after(9)), None);
        assert!(held.lock().is_empty(), "nothing is left behind");
    }

    #[test]
    fn no_server_is_obeyed_for_ever_and_not_any_number_of_them() {
        let (held, now) = (Held::default(), Instant::now());
        for number in 0..=KEYS_MAX as u64 {
            held.hold(&number.into(), Duration::MAX, now);
        }
        assert_eq!(held.until(&0.into(), now), Some(now + HOLD_MAX));
        assert_eq!(held.lock().len(), KEYS_MAX);
        held.hold(&RequestKey::from("new"), HOLD_MAX, now + HOLD_MAX);
        assert_eq!(held.lock().len(), 1, "those that are past make room");
    }
}
