//! Waiting requests: a queue for each key, in the order of arrival, and the cooldowns of keys whose
//! servers have asked to wait.

use std::{
    collections::{BTreeMap, HashMap},
    future::poll_fn,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use crate::key::RequestKey;

/// The waiting requests of a layer and its clones.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) queues: ArrivalQueues,
    pub(super) cooldowns: Cooldowns,
    pub(super) ignored: AtomicU64,
}

/// The waiters of each key, by their arrival. A key without waiters is not kept.
#[derive(Debug, Default)]
pub(super) struct ArrivalQueues {
    arrivals: AtomicU64,
    queues: Mutex<HashMap<RequestKey, Queue>>,
}

/// Waiters by their arrival. The first one is served; the others have a waker once they are polled.
type Queue = BTreeMap<u64, Option<Waker>>;

impl ArrivalQueues {
    /// Numbers a request by its arrival.
    pub(super) fn arrive(&self) -> u64 {
        self.arrivals.fetch_add(1, Ordering::Relaxed)
    }

    /// Enters the key's queue, before those that arrived later; `None` if it is full.
    pub(super) fn enter<'a>(&'a self, key: &'a RequestKey, arrival: u64) -> Option<Ticket<'a>> {
        let mut queues = self.lock();
        let queue = match queues.get_mut(key) {
            Some(queue) if WAITERS_MAX <= queue.len() => return None,
            Some(queue) => queue,
            None => queues.entry(key.clone()).or_default(),
        };
        queue.insert(arrival, None);
        Some(Ticket { queues: self, key, arrival })
    }

    /// Ignores poison: no entry is ever half written.
    fn lock(&self) -> MutexGuard<'_, HashMap<RequestKey, Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waiters of one key, as many as a limiter has by default.
const WAITERS_MAX: usize = 10_000;

/// A waiter's place in its queue, which it leaves when it is dropped.
#[derive(Debug)]
pub(super) struct Ticket<'a> {
    queues: &'a ArrivalQueues,
    key: &'a RequestKey,
    arrival: u64,
}

impl Ticket<'_> {
    /// Waits until nobody is before this waiter.
    pub(super) async fn first(&self) {
        poll_fn(|context| self.poll_first(context)).await;
    }

    fn poll_first(&self, context: &Context<'_>) -> Poll<()> {
        let mut queues = self.queues.lock();
        let Some(queue) = queues.get_mut(self.key) else { return Poll::Ready(()) };
        if queue.keys().next() == Some(&self.arrival) {
            return Poll::Ready(());
        }
        queue.insert(self.arrival, Some(context.waker().clone()));
        Poll::Pending
    }

    /// True if nobody is before this waiter.
    pub(super) fn is_first(&self) -> bool {
        let queues = self.queues.lock();
        queues.get(self.key).is_none_or(|queue| queue.keys().next() == Some(&self.arrival))
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut queues = self.queues.lock();
        let Some(queue) = queues.get_mut(self.key) else { return };
        queue.remove(&self.arrival);
        let next = match queue.first_entry() {
            Some(mut first) => first.get_mut().take(),
            None => {
                queues.remove(self.key);
                None
            }
        };
        drop(queues);
        if let Some(waker) = next {
            waker.wake();
        }
    }
}

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

    #[test]
    fn waiters_are_first_in_the_order_of_their_arrival() {
        let (queues, key) = (ArrivalQueues::default(), RequestKey::from("a"));
        let [first, second, third] = [(); 3].map(|()| queues.arrive());
        let enter = |arrival| queues.enter(&key, arrival).expect("there is room");
        let (third, first) = (enter(third), enter(first));
        assert!(first.is_first() && !third.is_first());
        let again = enter(second);
        drop(first);
        assert!(again.is_first() && !third.is_first(), "by arrival, not by entry");
        drop(again);
        assert!(third.is_first());
        drop(third);
        assert!(queues.lock().is_empty(), "nothing is left behind");
    }

    #[test]
    fn the_next_one_is_woken() {
        let (queues, key) = (ArrivalQueues::default(), RequestKey::from("a"));
        let enter = || queues.enter(&key, queues.arrive()).expect("there is room");
        let (first, second) = (enter(), enter());
        let context = &mut Context::from_waker(Waker::noop());
        assert!(second.poll_first(context).is_pending());
        drop(first);
        assert!(second.poll_first(context).is_ready());
    }

    #[test]
    fn a_queue_has_an_end() {
        let (queues, key) = (ArrivalQueues::default(), RequestKey::from("a"));
        let tickets: Vec<_> = (0..WAITERS_MAX as u64).map(|n| queues.enter(&key, n)).collect();
        assert!(tickets.iter().all(Option::is_some));
        assert!(queues.enter(&key, queues.arrive()).is_none());
        assert!(queues.enter(&RequestKey::from("b"), 0).is_some());
    }

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

    // FAULTS 225, 226.
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
