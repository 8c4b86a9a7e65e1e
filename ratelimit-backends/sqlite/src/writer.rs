//! The writer: a bounded queue of jobs, and the one connection that all of them need.
//!
//! A thread that has locked the [`Committer`] is the writer. The store's own thread locks it
//! whenever jobs wait, and takes all of them into one transaction. A thread that would block anyway
//! locks it itself when no job waits, which saves two changes of thread.

use std::{
    collections::VecDeque,
    panic::{self, AssertUnwindSafe},
    sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError},
    time::Instant,
};

use ratelimit_backend::{BackendError, ErrorKind};
use ratelimit_core::{Action, Batch};

use crate::{
    database::LOOK_AGAIN,
    group_commit::Committer,
    job::{Answer, Job},
};

pub(crate) struct Writer {
    queue: Mutex<Queue>,
    /// There may be something to do for the store's own thread.
    wake: Condvar,
    jobs_max: usize,
    /// A thread that waits for it does not hold `queue`; one that holds `queue` only tries.
    committer: Mutex<Committer>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    is_untidy: bool,
    is_closed: bool,
}

impl Writer {
    pub(crate) fn new(committer: Committer, jobs_max: usize) -> Self {
        let (queue, wake) = (Mutex::default(), Condvar::new());
        Self { queue, wake, jobs_max, committer: Mutex::new(committer) }
    }

    /// Applies a batch on the calling thread, or returns `None` if it has to queue.
    pub(crate) fn try_apply(
        &self,
        batch: Batch<'_>,
        action: Action,
        deadline: Instant,
    ) -> Option<Answer> {
        let mut committer = self.try_lock()?;
        let answer = committer.apply(batch, action, deadline);
        let is_untidy = committer.is_untidy();
        drop(committer);
        if is_untidy {
            lock(&self.queue).is_untidy = true;
            self.wake.notify_one();
        }
        Some(answer)
    }

    /// Locks the committer, if nobody has it and nobody waits for it, not even to tidy up.
    fn try_lock(&self) -> Option<MutexGuard<'_, Committer>> {
        let queue = lock(&self.queue);
        if queue.is_closed || queue.is_untidy || !queue.jobs.is_empty() {
            return None;
        }
        match self.committer.try_lock() {
            Ok(committer) => Some(committer),
            Err(TryLockError::Poisoned(committer)) => Some(committer.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Puts a job at the end of the queue.
    pub(crate) fn push(&self, job: Job) -> Result<(), BackendError> {
        let mut queue = lock(&self.queue);
        if queue.is_closed {
            return Err(BackendError::not_applied(ErrorKind::Closed));
        }
        if self.jobs_max <= queue.jobs.len() {
            return Err(BackendError::not_applied(ErrorKind::Overloaded));
        }
        queue.jobs.push_back(job);
        drop(queue);
        self.wake.notify_one();
        Ok(())
    }

    /// Lets nobody else into the queue.
    pub(crate) fn close(&self) {
        lock(&self.queue).is_closed = true;
        self.wake.notify_one();
    }

    /// Runs on the store's own thread: answers jobs, and tidies up behind them, until the queue is
    /// closed and empty.
    pub(crate) fn serve(&self) {
        while self.wait() {
            // A panic of the caller's clock or waker rolls the transaction back and takes its
            // jobs, whose callers hear of it. The store goes on.
            let _ = panic::catch_unwind(AssertUnwindSafe(|| self.serve_once()));
        }
        lock(&self.committer).close();
    }

    fn serve_once(&self) {
        let mut committer = lock(&self.committer);
        committer.answer(self.take());
        if committer.is_untidy() {
            committer.tidy();
        }
        // Others may wait until this process lets go of a file that is not there any more.
        committer.look();
    }

    /// Waits until there is something to do, but not for long; returns false at the end.
    fn wait(&self) -> bool {
        let is_idle =
            |queue: &mut Queue| queue.jobs.is_empty() && !queue.is_untidy && !queue.is_closed;
        let queue = self.wake.wait_timeout_while(lock(&self.queue), LOOK_AGAIN, is_idle);
        let (queue, _) = queue.unwrap_or_else(PoisonError::into_inner);
        !queue.jobs.is_empty() || !queue.is_closed
    }

    /// Takes the jobs at the head of the queue. A caller who looks meanwhile finds the committer locked.
    fn take(&self) -> VecDeque<Job> {
        let mut queue = lock(&self.queue);
        queue.is_untidy = false;
        let group = queue.jobs.len().min(GROUP_MAX);
        queue.jobs.drain(..group).collect()
    }
}

/// Locks, poisoned or not: a panic rolls its transaction back.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A transaction of so many takes a millisecond or two; then other processes have their turn.
const GROUP_MAX: usize = 256;
