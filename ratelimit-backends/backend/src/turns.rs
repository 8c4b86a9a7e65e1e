//! Turns of the callers that change one entry.
//!
//! Of many that load an entry and swap it at the same time one succeeds, and the others start over. Those that have
//! lost a number of times stand in line, and only the first of a line goes on trying. If it keeps losing to
//! callers that have just come, it closes the line to them: they stand behind it.
//!
//! Whoever loads after a line is closed sees that before it swaps. Of those that had loaded before, one can still
//! win, and then the entry is another than the rest have loaded. So the first loses once more at most. A caller
//! that does not lose waits for nobody.

use std::{
    collections::{BTreeMap, HashMap},
    future::poll_fn,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

/// The lines of one backend.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    lines: Mutex<Lines>,
    /// The number of closed lines, for those that look without the lock.
    closed: AtomicUsize,
}

#[derive(Debug, Default)]
struct Lines {
    by_key: HashMap<Vec<u8>, Line>,
    /// The number of the next place.
    next: u64,
}

#[derive(Debug, Default)]
struct Line {
    /// From the first to the last.
    places: BTreeMap<u64, Option<Waker>>,
    /// Nobody may try before the first has succeeded, or left.
    is_closed: bool,
}

/// A place in line, which is left when this is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    key: Vec<u8>,
    number: u64,
}

impl Turns {
    /// Returns true if the line of one of `keys` is closed.
    pub(crate) fn are_closed(&self, keys: &[Vec<u8>]) -> bool {
        // A line that is seen too late or too early costs one attempt.
        self.closed.load(Ordering::Relaxed) != 0 && {
            let lines = self.lines();
            keys.iter().any(|key| lines.by_key.get(key).is_some_and(|line| line.is_closed))
        }
    }

    /// Waits for the turn of all keys, one after the other. All callers wait in the order of the keys, so
    /// no two wait for each other.
    pub(crate) async fn of(&self, keys: &[Vec<u8>]) -> Vec<Turn<'_>> {
        let mut keys: Vec<_> = keys.iter().collect();
        keys.sort_unstable();
        let mut turns = Vec::with_capacity(keys.len());
        for key in keys {
            let turn = self.enter(key);
            poll_fn(|context| turn.poll(context)).await;
            turns.push(turn);
        }
        turns
    }

    fn enter(&self, key: &[u8]) -> Turn<'_> {
        let mut lines = self.lines();
        let number = lines.next;
        lines.next = number.wrapping_add(1);
        lines.by_key.entry(key.to_vec()).or_default().places.insert(number, None);
        Turn { turns: self, key: key.to_vec(), number }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    fn poll(&self, context: &Context<'_>) -> Poll<()> {
        let mut lines = self.turns.lines();
        match lines.by_key.get_mut(&self.key) {
            Some(line) if line.places.keys().next() != Some(&self.number) => {
                line.places.insert(self.number, Some(context.waker().clone()));
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    /// Closes the line until it is left. The first of it may.
    pub(crate) fn close(&self) {
        let mut lines = self.turns.lines();
        if let Some(line) = lines.by_key.get_mut(&self.key)
            && !line.is_closed
        {
            line.is_closed = true;
            self.turns.closed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut lines = self.turns.lines();
        let Some(line) = lines.by_key.get_mut(&self.key) else { return };
        if line.is_closed && line.places.keys().next() == Some(&self.number) {
            line.is_closed = false;
            self.turns.closed.fetch_sub(1, Ordering::Relaxed);
        }
        line.places.remove(&self.number);
        let next = line.places.first_entry().and_then(|mut first| first.get_mut().take());
        if line.places.is_empty() {
            lines.by_key.remove(&self.key);
        }
        drop(lines);
        // Away from the lock: a waker may run anything.
        if let Some(next) = next {
            next.wake();
        }
    }
}
