//! The queues in which callers wait, one for each key that somebody waits for.
//!
//! Each waiter has a ticket, and the lowest ticket is first. Waiters only ever join and leave, at
//! the head or in the middle; a head that leaves wakes its successor.
//!
//! A caller that waits for several keys, of one limiter or of several, stands in all their queues under
//! one number, and is served when it is the first in each. It joins all of them at once, under the
//! locks of all limiters, and its number is higher than any that one of them has given. So of two
//! callers with a key in common the same one is first in every queue that they share, nobody who comes
//! later passes, and no circle of callers can wait for each other. A ticket that is first in a queue
//! stays the first, so the queues may be waited for one after the other.
//!
//! The head sleeps until it may check again. A refund or a reset of its key wakes it earlier, and so does
//! a change of the policies.
//!
//! No wake-up is lost. A waiter looks whether it is first, and leaves its waker, under the same lock
//! under which the head leaves and takes its successor's waker: either the successor sees that it
//! is first, or its waker is there to be taken. In the same way a head looks whether anything has changed
//! since before its last check. Threads share nothing else.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    future::poll_fn,
    ptr,
    sync::{Mutex, MutexGuard, PoisonError, Weak},
    task::{Poll, Waker},
};

use ratelimit_backend::Claim;
use smallvec::SmallVec;

/// All queues of one limiter and its clones, which keep its name taken.
pub(crate) struct WaitQueues {
    waiting: Mutex<Waiting>,
    _claim: Claim,
}

/// The callers that wait at a limiter whose policies may change.
///
/// [`Policies`](crate::Policies) get them when a limiter is built, and call [`wake`](Self::wake) after
/// each change.
#[derive(Clone)]
pub struct Waiters(pub(crate) Weak<WaitQueues>);

impl Waiters {
    /// Lets the callers that wait check again.
    pub fn wake(&self) {
        if let Some(queues) = self.0.upgrade() {
            queues.wake_all();
        }
    }
}

/// Shows no keys.
impl fmt::Debug for Waiters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiters").finish_non_exhaustive()
    }
}

/// The callers to wake when policies change.
#[derive(Debug, Default)]
pub(crate) struct Listeners(Mutex<Vec<Waiters>>);

impl Listeners {
    pub(crate) fn add(&self, waiters: Waiters) {
        let mut listeners = self.lock();
        listeners.retain(|listener| 0 < listener.0.strong_count());
        listeners.push(waiters);
    }

    pub(crate) fn wake(&self) {
        let listeners = self.lock().clone();
        listeners.iter().for_each(Waiters::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Waiters>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Waiting {
    most: usize,
    count: usize,
    next: u64,
    /// Events that woke somebody, or would have.
    changes: u64,
    queues: HashMap<Box<[u8]>, Queue>,
}

/// Tickets, and the wakers of those that were polled.
type Queue = BTreeMap<u64, Option<Waker>>;

/// Waiters that one limiter may have by default: each is a task or a thread that hangs.
pub(crate) const WAITERS_MAX: usize = 10_000;

impl WaitQueues {
    pub(crate) fn new(claim: Claim) -> Self {
        let (most, queues) = (WAITERS_MAX, HashMap::new());
        let waiting = Waiting { most, count: 0, next: 0, changes: 0, queues };
        Self { waiting: Mutex::new(waiting), _claim: claim }
    }

    /// Lets at most `most` callers wait.
    pub(crate) fn limit(&self, most: usize) {
        self.lock().most = most;
    }

    /// A ticket at the end of the queue of each of these keys; `None` if one of the limiters has as
    /// many waiters as it may have.
    pub(crate) fn join<'a>(
        places: impl IntoIterator<Item = (&'a Self, &'a [u8])>,
    ) -> Option<Ticket<'a>> {
        let places = places.into_iter().map(|(queues, key)| Place { queues, key });
        let mut places: Places<'a> = places.collect();
        // One order for everybody, so that no two wait for each other's locks.
        places.sort_unstable_by_key(Place::order);
        places.dedup_by(|one, other| one.order() == other.order());
        let limiters = || places.chunk_by(Place::is_of_the_limiter_of);
        let mut locked: SmallVec<[_; 1]> =
            limiters().map(|places| places[0].queues.lock()).collect();
        if locked.iter().any(|waiting| waiting.most <= waiting.count) {
            return None;
        }
        let number = locked.iter().map(|waiting| waiting.next).max()?;
        for (waiting, places) in locked.iter_mut().zip(limiters()) {
            waiting.count += 1;
            waiting.next = number + 1;
            places.iter().for_each(|place| waiting.add(place.key, number));
        }
        drop(locked);
        Some(Ticket { places, number })
    }

    /// Lets the head of `key`'s queue check again.
    pub(crate) fn wake(&self, key: &[u8]) {
        let mut waiting = self.lock();
        let Some(queue) = waiting.queues.get_mut(key) else { return };
        let head = take_head(queue);
        waiting.changes += 1;
        drop(waiting);
        head.into_iter().for_each(Waker::wake);
    }

    /// Lets the heads of all queues check again.
    fn wake_all(&self) {
        let mut waiting = self.lock();
        let heads: Vec<_> = waiting.queues.values_mut().filter_map(take_head).collect();
        waiting.changes += 1;
        drop(waiting);
        heads.into_iter().for_each(Waker::wake);
    }

    /// No caller's code runs under the lock: wakers are cloned, woken and dropped outside.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn add(&mut self, key: &[u8], number: u64) {
        match self.queues.get_mut(key) {
            Some(queue) => queue.insert(number, None),
            None => self.queues.entry(key.into()).or_default().insert(number, None),
        };
    }

    /// Removes a ticket, with its waker; returns the waker of the next one too, if that is first now.
    fn remove(&mut self, key: &[u8], number: u64) -> [Option<Waker>; 2] {
        let Some(queue) = self.queues.get_mut(key) else { return [None, None] };
        let was_first = leads(number, queue);
        let own = queue.remove(&number).flatten();
        let next = if was_first { take_head(queue) } else { None };
        if queue.is_empty() {
            self.queues.remove(key);
        }
        [own, next]
    }
}

fn leads(number: u64, queue: &Queue) -> bool {
    queue.first_key_value().is_some_and(|(&first, _)| first == number)
}

fn take_head(queue: &mut Queue) -> Option<Waker> {
    queue.first_entry().and_then(|mut head| head.get_mut().take())
}

/// Shows no keys.
impl fmt::Debug for WaitQueues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WaitQueues({} waiting)", self.lock().count)
    }
}

/// A place in each of several queues, which are left when this is dropped.
pub(crate) struct Ticket<'a> {
    places: Places<'a>,
    number: u64,
}

/// In the order of their locks, and each once.
type Places<'a> = SmallVec<[Place<'a>; 1]>;

#[derive(Clone, Copy)]
struct Place<'a> {
    queues: &'a WaitQueues,
    key: &'a [u8],
}

impl<'a> Place<'a> {
    fn order(&self) -> (usize, &'a [u8]) {
        (ptr::from_ref(self.queues).addr(), self.key)
    }

    fn is_of_the_limiter_of(&self, other: &Self) -> bool {
        ptr::eq(self.queues, other.queues)
    }

    /// Looks at the queue of `number`, and leaves the waker there unless it `is_over`.
    fn poll(self, number: u64, waker: Waker, is_over: impl Fn(u64, &Queue) -> bool) -> Poll<()> {
        let mut waiting = self.queues.lock();
        let changes = waiting.changes;
        let Some(queue) = waiting.queues.get_mut(self.key) else { return Poll::Ready(()) };
        if is_over(changes, queue) {
            return Poll::Ready(());
        }
        let before = queue.insert(number, Some(waker));
        drop(waiting);
        drop(before);
        Poll::Pending
    }
}

impl Ticket<'_> {
    pub(crate) fn is_first(&self) -> bool {
        self.places.iter().all(|place| {
            let waiting = place.queues.lock();
            waiting.queues.get(place.key).is_none_or(|queue| leads(self.number, queue))
        })
    }

    /// Waits until this ticket is the first in every queue.
    pub(crate) async fn turn(&self) {
        for place in &self.places {
            let is_first = |_, queue: &Queue| leads(self.number, queue);
            poll_fn(|context| place.poll(self.number, context.waker().clone(), is_first)).await;
        }
    }

    /// The number of changes so far at each place.
    pub(crate) fn changes(&self) -> Changes {
        self.places.iter().map(|place| place.queues.lock().changes).collect()
    }

    /// Waits, as the first, until there has been a change at one of the places since those `seen`.
    pub(crate) async fn change_after(&self, seen: Changes) {
        poll_fn(|context| {
            let mut places = self.places.iter().zip(&seen);
            let is_changed = places.any(|(place, seen)| {
                let is_over = |changes, _: &Queue| changes != *seen;
                place.poll(self.number, context.waker().clone(), is_over).is_ready()
            });
            if is_changed { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Leaves; returns its wakers, and those of the next waiters that are first now.
    fn leave(&self) -> [Wakers; 2] {
        let (mut own, mut next) = (Wakers::new(), Wakers::new());
        for places in self.places.chunk_by(Place::is_of_the_limiter_of) {
            let mut waiting = places[0].queues.lock();
            waiting.count -= 1;
            for place in places {
                let [left, woken] = waiting.remove(place.key, self.number);
                own.extend(left);
                next.extend(woken);
            }
        }
        [own, next]
    }
}

/// The number of changes at each place of a ticket.
pub(crate) type Changes = SmallVec<[u64; 1]>;

type Wakers = SmallVec<[Waker; 1]>;

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let [own, next] = self.leave();
        drop(own);
        next.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Context;

    use ratelimit_backend::Names;
    use ratelimit_core::{Policy, token_bucket};

    use super::*;

    #[test]
    fn a_change_between_a_check_and_the_sleep_after_it_is_not_missed() {
        let quota = token_bucket::Quota::new(1, 1, std::time::Duration::from_secs(1)).unwrap();
        let claim = Names::default().claim(&Policy::new("test", quota).unwrap()).unwrap();
        let queues = WaitQueues::new(claim);
        let join = |key| WaitQueues::join([(&queues, key)]).unwrap();
        let (first, other) = (join(b"key".as_slice()), join(b"other"));
        let seen = first.changes();
        let mut sleep = std::pin::pin!(first.change_after(seen));
        let mut context = Context::from_waker(Waker::noop());
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        queues.wake(b"key");
        assert!(sleep.as_mut().poll(&mut context).is_ready());

        let seen = other.changes();
        queues.wake_all();
        queues.wake(b"nobody waits for it");
        let mut sleep = std::pin::pin!(other.change_after(seen));
        assert!(sleep.as_mut().poll(&mut context).is_ready());
    }
}
