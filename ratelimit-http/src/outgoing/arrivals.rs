//! Queues, one for each key: requests are served in the order of their arrival.

use std::{
    collections::{BTreeMap, HashMap},
    future::poll_fn,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use crate::key::RequestKey;

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
}
