//! Cooldowns: the keys whose servers have asked to wait.

use std::{
    collections::HashMap,
    future::poll_fn,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use crate::key::RequestKey;

/// The cooldown of each key that has one.
#[derive(Debug, Default)]
pub(super) struct Cooldowns(Mutex<HashMap<RequestKey, Entry>>);

#[derive(Debug)]
struct Entry {
    cooldown: Cooldown,
    /// Sleepers that look again when the cooldown changes.
    sleepers: Vec<Waker>,
}

/// The wait that the response to one request asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Cooldown {
    pub(super) end: Instant,
    /// The time at which the request was sent.
    pub(super) sent: Instant,
    /// True of `Retry-After`; false of a limit that is spent.
    pub(super) is_explicit: bool,
}

impl Cooldowns {
    /// Starts a cooldown of `key`, or corrects the one it has: the response to the later request
    /// counts, but a limit that is spent does not shorten a `Retry-After`.
    pub(super) fn start(&self, key: &RequestKey, cooldown: Cooldown, now: Instant) {
        let end = cooldown.end.min(now + COOLDOWN_MAX);
        let cooldown = Cooldown { end, ..cooldown };
        let mut entries = self.lock();
        if let Some(entry) = entries.get_mut(key) {
            entry.cooldown = entry.cooldown.corrected_by(cooldown);
            let sleepers = std::mem::take(&mut entry.sleepers);
            drop(entries);
            return sleepers.into_iter().for_each(Waker::wake);
        }
        if KEYS_MAX <= entries.len() {
            entries.retain(|_, entry| now < entry.cooldown.end);
        }
        if entries.len() < KEYS_MAX {
            entries.insert(key.clone(), Entry { cooldown, sleepers: Vec::new() });
        }
    }

    /// Ends the key's cooldown if the response behind `newer`, which asks for none, may correct it.
    pub(super) fn relax(&self, key: &RequestKey, newer: Cooldown) {
        let is_over = self.lock().get(key).is_some_and(|entry| entry.cooldown.yields_to(newer));
        if is_over {
            self.lift(key);
        }
    }

    /// Ends the key's cooldown.
    pub(super) fn lift(&self, key: &RequestKey) {
        let entry = self.lock().remove(key);
        entry.into_iter().flat_map(|entry| entry.sleepers).for_each(Waker::wake);
    }

    /// Returns the end of the key's cooldown, if it is after `now`.
    pub(super) fn end(&self, key: &RequestKey, now: Instant) -> Option<Instant> {
        let end = self.lock().get(key)?.cooldown.end;
        if now < end {
            return Some(end);
        }
        self.lift(key);
        None
    }

    /// Waits until the key's cooldown no longer ends at `end`.
    pub(super) async fn changed(&self, key: &RequestKey, end: Instant) {
        poll_fn(|context| match self.lock().get_mut(key) {
            Some(entry) if entry.cooldown.end == end => {
                if !entry.sleepers.iter().any(|sleeper| sleeper.will_wake(context.waker())) {
                    entry.sleepers.push(context.waker().clone());
                }
                Poll::Pending
            }
            _ => Poll::Ready(()),
        })
        .await;
    }

    /// Ignores poison: no entry is ever half written.
    fn lock(&self) -> MutexGuard<'_, HashMap<RequestKey, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cooldown {
    fn corrected_by(self, newer: Self) -> Self {
        if self.yields_to(newer) { newer } else { Self { end: self.end.max(newer.end), ..self } }
    }

    /// True if `newer` is the response to a later request, and no weaker sign.
    fn yields_to(self, newer: Self) -> bool {
        self.sent <= newer.sent && (newer.is_explicit || !self.is_explicit)
    }
}

/// The longest cooldown: a server's mistake should not last forever.
const COOLDOWN_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The most cooldowns that are kept.
const KEYS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_response_to_the_later_request_counts() {
        let start = Instant::now();
        let cooldown = |sent, end, is_explicit| Cooldown {
            end: start + secs(end),
            sent: start + secs(sent),
            is_explicit,
        };
        let known = cooldown(1, 9, true);
        for (newer, end) in [
            (cooldown(2, 5, true), 5),
            (cooldown(1, 5, true), 5),
            (cooldown(2, 15, true), 15),
            (cooldown(0, 5, true), 9),
            (cooldown(0, 15, true), 15),
            (cooldown(2, 5, false), 9),
            (cooldown(2, 15, false), 15),
        ] {
            assert_eq!(known.corrected_by(newer).end, start + secs(end), "{newer:?}");
        }
        assert_eq!(cooldown(1, 9, false).corrected_by(cooldown(2, 5, false)).end, start + secs(5));
        assert_eq!(cooldown(1, 9, false).corrected_by(cooldown(2, 5, true)).end, start + secs(5));
    }

    #[test]
    fn a_cooldown_ends_by_itself_or_when_it_is_lifted() {
        let (cooldowns, now, key) = (Cooldowns::default(), Instant::now(), RequestKey::from("a"));
        let cooldown = |is_explicit| Cooldown { end: now + secs(9), sent: now, is_explicit };
        cooldowns.start(&key, cooldown(true), now);
        assert_eq!(cooldowns.end(&key, now + secs(8)), Some(now + secs(9)));
        assert_eq!(cooldowns.end(&RequestKey::from("b"), now), None);
        cooldowns.relax(&key, cooldown(false));
        assert_eq!(cooldowns.end(&key, now), Some(now + secs(9)), "the server has said so");
        assert_eq!(cooldowns.end(&key, now + secs(9)), None);
        assert!(cooldowns.lock().is_empty(), "nothing is left behind");
        cooldowns.start(&key, cooldown(true), now);
        cooldowns.lift(&key);
        assert_eq!(cooldowns.end(&key, now), None);
        cooldowns.start(&key, cooldown(false), now);
        cooldowns.relax(&key, cooldown(false));
        assert_eq!(cooldowns.end(&key, now), None);
    }

    #[test]
    fn cooldowns_are_limited_in_length_and_number() {
        let (cooldowns, now) = (Cooldowns::default(), Instant::now());
        let start = |key: RequestKey, now| {
            let end = now + COOLDOWN_MAX + COOLDOWN_MAX;
            cooldowns.start(&key, Cooldown { end, sent: now, is_explicit: true }, now);
        };
        (0..=KEYS_MAX as u64).for_each(|number| start(number.into(), now));
        assert_eq!(cooldowns.end(&0.into(), now), Some(now + COOLDOWN_MAX));
        assert_eq!(cooldowns.lock().len(), KEYS_MAX);
        start("new".into(), now + COOLDOWN_MAX);
        assert_eq!(cooldowns.lock().len(), 1, "cooldowns that are over make room");
    }
}
