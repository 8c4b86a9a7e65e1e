//! The lines in which callers wait, one for each key that somebody waits for.
//!
//! Whoever joins a line gets a ticket, and the lowest ticket is first. Leaving, at the end or in
//! the middle, is all there is to do: who leaves as the first wakes the next.
//!
//! No wake-up is lost. Whether a ticket is first is read, and its waker left, under the lock under
//! which the first one leaves and takes the waker of the next: either the next sees that it is
//! first, or its waker is there to be taken. There is nothing else that two threads share.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    future::poll_fn,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

/// All lines of one limiter.
pub(crate) struct Lines(Mutex<Waiting>);

struct Waiting {
    most: usize,
    count: usize,
    next: u64,
    lines: HashMap<Box<[u8]>, Line>,
}

/// Tickets; and of those that have been polled, whom to wake.
type Line = BTreeMap<u64, Option<Waker>>;

/// How many may wait for one limiter if nothing is said: each is a task or a thread that hangs.
pub(crate) const WAITERS_MAX: usize = 10_000;

impl Default for Lines {
    fn default() -> Self {
        let (most, lines) = (WAITERS_MAX, HashMap::new());
        Self(Mutex::new(Waiting { most, count: 0, next: 0, lines }))
    }
}

impl Lines {
    /// Lets no more than so many wait.
    pub(crate) fn limit(&self, most: usize) {
        self.lock().most = most;
    }

    /// A place at the end of the line of `key`; `None` if as many wait as may.
    pub(crate) fn join<'a>(&'a self, key: &'a [u8]) -> Option<Place<'a>> {
        let mut waiting = self.lock();
        if waiting.most <= waiting.count {
            return None;
        }
        let ticket = waiting.next;
        waiting.count += 1;
        waiting.next += 1;
        match waiting.lines.get_mut(key) {
            Some(line) => line.insert(ticket, None),
            None => waiting.lines.entry(key.into()).or_default().insert(ticket, None),
        };
        Some(Place { lines: self, key, ticket })
    }

    /// No caller's code runs under the lock: wakers are cloned, woken and dropped outside.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows no keys.
impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lines({} waiting)", self.lock().count)
    }
}

/// A place in a line, which is left when it is dropped.
pub(crate) struct Place<'a> {
    lines: &'a Lines,
    key: &'a [u8],
    ticket: u64,
}

impl Place<'_> {
    pub(crate) fn is_first(&self) -> bool {
        self.lines.lock().lines.get(self.key).is_none_or(|line| self.leads(line))
    }

    /// Waits until this place is the first.
    pub(crate) async fn turn(&self) {
        poll_fn(|context| self.poll(context.waker().clone())).await;
    }

    fn poll(&self, waker: Waker) -> Poll<()> {
        let mut waiting = self.lines.lock();
        let Some(line) = waiting.lines.get_mut(self.key) else { return Poll::Ready(()) };
        if self.leads(line) {
            return Poll::Ready(());
        }
        let before = line.insert(self.ticket, Some(waker));
        drop(waiting);
        drop(before);
        Poll::Pending
    }

    fn leads(&self, line: &Line) -> bool {
        line.first_key_value().is_some_and(|(&first, _)| first == self.ticket)
    }

    /// Leaves; returns whom to wake.
    fn leave(&self) -> Option<Waker> {
        let mut waiting = self.lines.lock();
        waiting.count -= 1;
        let line = waiting.lines.get_mut(self.key)?;
        let was_first = self.leads(line);
        let own = line.remove(&self.ticket);
        let next =
            line.first_entry().filter(|_| was_first).and_then(|mut next| next.get_mut().take());
        if line.is_empty() {
            waiting.lines.remove(self.key);
        }
        drop(waiting);
        drop(own);
        next
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(next) = self.leave() {
            next.wake();
        }
    }
}
