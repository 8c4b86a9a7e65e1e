//! Whose turn it is: a bounded queue of jobs, and the one store that they all need.
//!
//! Whoever has locked the store is the writer. The store's own thread locks it whenever jobs wait,
//! and takes all of them: a transaction for a group costs hardly more than for one job, and who
//! comes alone waits for nobody. A thread that would block anyway locks it itself when no job
//! waits, which saves two changes of thread.

use std::{
    collections::VecDeque,
    panic::{self, AssertUnwindSafe},
    sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError},
    time::Instant,
};

use ratelimit_backend::{BackendError, ErrorKind};
use ratelimit_core::{Action, Batch};

use crate::{
    job::{Answer, Job},
    group_commit::Store,
};

pub(crate) struct Queue {
    line: Mutex<Line>,
    /// There may be something to do for the store's own thread.
    wake: Condvar,
    jobs_max: usize,
    /// Locked before `line` by who waits for it, and only tried by who holds `line`.
    store: Mutex<Store>,
}

#[derive(Default)]
struct Line {
    jobs: VecDeque<Job>,
    is_untidy: bool,
    is_closed: bool,
}

impl Queue {
    pub(crate) fn new(store: Store, jobs_max: usize) -> Self {
        let (line, wake) = (Mutex::default(), Condvar::new());
        Self { line, wake, jobs_max, store: Mutex::new(store) }
    }

    /// Applies a batch on the calling thread, or gives `None` if it has to queue.
    pub(crate) fn try_apply(
        &self,
        batch: Batch<'_>,
        action: Action,
        due: Instant,
    ) -> Option<Answer> {
        let mut store = self.try_turn()?;
        let answer = store.apply(batch, action, due);
        let is_untidy = store.is_untidy();
        drop(store);
        if is_untidy {
            lock(&self.line).is_untidy = true;
            self.wake.notify_one();
        }
        Some(answer)
    }

    /// The store, if nobody has it and nobody waits for it, not even to tidy up.
    fn try_turn(&self) -> Option<MutexGuard<'_, Store>> {
        let line = lock(&self.line);
        if line.is_closed || line.is_untidy || !line.jobs.is_empty() {
            return None;
        }
        match self.store.try_lock() {
            Ok(store) => Some(store),
            Err(TryLockError::Poisoned(store)) => Some(store.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Puts a job at the end of the line.
    pub(crate) fn push(&self, job: Job) -> Result<(), BackendError> {
        let mut line = lock(&self.line);
        if line.is_closed {
            return Err(BackendError::not_applied(ErrorKind::Closed));
        }
        if self.jobs_max <= line.jobs.len() {
            return Err(BackendError::not_applied(ErrorKind::Overloaded));
        }
        line.jobs.push_back(job);
        drop(line);
        self.wake.notify_one();
        Ok(())
    }

    /// Lets nobody else into the line.
    pub(crate) fn close(&self) {
        lock(&self.line).is_closed = true;
        self.wake.notify_one();
    }

    /// The life of the store's own thread: answers jobs, and tidies up behind them, until the
    /// queue is closed and empty.
    pub(crate) fn serve(&self) {
        while self.wait() {
            // A panic of the caller's clock or waker rolls the transaction back and takes its
            // jobs, whose callers hear of it. The store goes on.
            let _ = panic::catch_unwind(AssertUnwindSafe(|| self.take_turn()));
        }
        lock(&self.store).close();
    }

    fn take_turn(&self) {
        let mut store = lock(&self.store);
        store.answer(self.take());
        if store.is_untidy() {
            store.tidy();
        }
    }

    /// Waits until there is something to do, or gives `false` at the end.
    fn wait(&self) -> bool {
        let is_idle = |line: &mut Line| line.jobs.is_empty() && !line.is_untidy && !line.is_closed;
        let line = self.wake.wait_while(lock(&self.line), is_idle);
        let line = line.unwrap_or_else(PoisonError::into_inner);
        !line.jobs.is_empty() || !line.is_closed
    }

    /// Takes the jobs at the head of the line. Whoever looks meanwhile finds the store locked.
    fn take(&self) -> VecDeque<Job> {
        let mut line = lock(&self.line);
        line.is_untidy = false;
        let group = line.jobs.len().min(GROUP_MAX);
        line.jobs.drain(..group).collect()
    }
}

/// A poisoned lock is as good as any: a panic rolls its transaction back.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A transaction of so many takes a millisecond or two; then other processes have their turn.
const GROUP_MAX: usize = 256;
