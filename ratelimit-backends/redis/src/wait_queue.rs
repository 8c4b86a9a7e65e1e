//! Callers that wait for their turn on a key, served in the order in which they come.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::OwnedMutexGuard;

/// The keys on which somebody has a turn or waits for one.
#[derive(Clone, Debug, Default)]
pub(crate) struct WaitQueues(Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>>);

/// A turn, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: WaitQueues,
    key: String,
    guard: Option<OwnedMutexGuard<()>>,
}

impl WaitQueues {
    /// Waits for a turn; true if there was a wait.
    pub(crate) async fn wait(&self, key: &str) -> (Turn, bool) {
        let mutex = Arc::clone(self.known().entry(key.to_owned()).or_default());
        // Made before the wait, so that a caller that leaves tidies up.
        let mut turn = Turn { turns: self.clone(), key: key.to_owned(), guard: None };
        turn.guard = Arc::clone(&mutex).try_lock_owned().ok();
        let has_waited = turn.guard.is_none();
        if has_waited {
            turn.guard = Some(mutex.lock_owned().await);
        }
        (turn, has_waited)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Arc<tokio::sync::Mutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        drop(self.guard.take());
        let mut known = self.turns.known();
        if known.get(&self.key).is_some_and(|mutex| Arc::strong_count(mutex) == 1) {
            known.remove(&self.key);
        }
    }
}
