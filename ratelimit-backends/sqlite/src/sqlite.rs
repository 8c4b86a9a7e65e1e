//! The handle: what callers hold of a store.

use std::{
    fmt,
    path::Path,
    process,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use ratelimit_backend::{Backend, BackendError, ErrorKind, Names, Reply, SyncBackend};
use ratelimit_core::{Action, Batch, store::Decisions};

use crate::{
    Settings,
    busy::due_after,
    job::{Answer, Job},
    writer::Queue,
    group_commit::Store,
};

/// Keeps state in a SQLite file. Clones are the same store.
///
/// Async callers are served by the store's own thread, and never block theirs. Synchronous callers
/// block until the transaction is done; when nobody else is waiting, they run it themselves.
/// Dropping the last clone answers who is still waiting, then closes the file.
#[derive(Clone)]
pub struct Sqlite(Arc<Inner>);

struct Inner {
    queue: Arc<Queue>,
    names: Names,
    deadline: Duration,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// Of the process that opened it. A forked child has neither the writer nor the locks.
    process: u32,
}

impl Sqlite {
    /// Opens the store in the file at `path`, which is made if there is none.
    ///
    /// # Errors
    ///
    /// See [`Settings::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, BackendError> {
        Settings::file(path).open()
    }

    /// Opens a store in memory, private to this handle and its clones.
    ///
    /// # Errors
    ///
    /// If there is no memory or no thread.
    pub fn in_memory() -> Result<Self, BackendError> {
        Settings::in_memory().open()
    }

    pub(crate) fn with_settings(settings: Settings) -> Result<Self, BackendError> {
        let (deadline, queue_max) = (settings.deadline, settings.queue_max.get());
        let queue = Arc::new(Queue::new(Store::open(settings)?, queue_max));
        let serve = {
            let queue = Arc::clone(&queue);
            move || queue.serve()
        };
        let writer = thread::Builder::new().name("ratelimit-sqlite".to_owned()).spawn(serve);
        let writer = writer.map_err(|error| {
            BackendError::not_applied(ErrorKind::Unavailable).with_source(error)
        })?;
        Ok(Self(Arc::new(Inner {
            queue,
            names: Names::default(),
            deadline,
            writer: Mutex::new(Some(writer)),
            process: process::id(),
        })))
    }

    /// Refuses further calls with [`ErrorKind::Closed`], and blocks until those that wait have been
    /// answered and the file is closed.
    pub fn close(&self) {
        self.0.close();
    }
}

impl Inner {
    fn due(&self) -> Result<Instant, BackendError> {
        if self.is_forked() {
            return Err(BackendError::not_applied(ErrorKind::Closed));
        }
        Ok(due_after(self.deadline))
    }

    fn enqueue(
        &self,
        batch: Batch<'_>,
        action: Action,
        due: Instant,
    ) -> Result<oneshot::Receiver<Answer>, BackendError> {
        let (job, answer) = Job::new(batch, action, due);
        self.queue.push(job)?;
        Ok(answer)
    }

    fn close(&self) {
        if self.is_forked() {
            return;
        }
        self.queue.close();
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        // The writer itself is here when the waker it calls drops the last handle.
        if let Some(writer) =
            writer.take_if(|writer| writer.thread().id() != thread::current().id())
        {
            // It catches its panics.
            let _ = writer.join();
        }
    }

    fn is_forked(&self) -> bool {
        self.process != process::id()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

impl Backend for Sqlite {
    /// Queues the batch when the reply is first polled. Dropping the reply before its turn leaves
    /// no charge, and later one whole charge.
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        Reply::waiting(async move {
            let answer = self.0.enqueue(batch, action, self.0.due()?)?;
            answer.await.unwrap_or_else(|_| Err(lost()))
        })
    }

    /// Never: there is always a wait.
    fn apply_if_ready(&self, _: Batch<'_>, _: Action) -> Option<Result<Decisions, BackendError>> {
        None
    }

    fn names(&self) -> &Names {
        &self.0.names
    }
}

impl SyncBackend for Sqlite {
    /// Blocks the calling thread until the transaction is done: some ten microseconds on an idle
    /// store, up to the deadline and the time of one transaction on a busy one.
    fn apply_now(&self, batch: Batch<'_>, action: Action) -> Result<Decisions, BackendError> {
        let due = self.0.due()?;
        if let Some(answer) = self.0.queue.try_apply(batch, action, due) {
            return answer;
        }
        let answer = self.0.enqueue(batch, action, due)?;
        answer.recv().unwrap_or_else(|_| Err(lost()))
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite").field("deadline", &self.0.deadline).finish_non_exhaustive()
    }
}

/// A panic of the caller's clock or waker took the job with it, before or after its transaction.
const fn lost() -> BackendError {
    BackendError::unknown(ErrorKind::Unavailable)
}

#[cfg(test)]
mod tests {
    use ratelimit_backend::{Effect, ManualClock};
    use ratelimit_core::{Check, Key, Policy, fixed_window};

    use super::*;

    /// A fork takes unsafe code; all that the child sees of it is another process id.
    // FAULTS 189.
    #[test]
    fn in_a_forked_child_a_store_is_closed_and_leaves_the_parents_alone() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::file(folder.path().join("limits.db"));
        let parent = settings.with_clock(ManualClock::default()).open().unwrap();
        let child = Sqlite(Arc::new(Inner {
            queue: Arc::clone(&parent.0.queue),
            names: Names::default(),
            deadline: parent.0.deadline,
            writer: Mutex::new(None),
            process: process::id() + 1,
        }));
        let quota =
            fixed_window::Quota::new(10, Duration::from_secs(1), fixed_window::Align::Epoch);
        let policy = Policy::new("permits", quota.unwrap()).unwrap();
        let check = Check::new(&policy, Key::new("key").unwrap(), 1).unwrap();
        let spend = |store: &Sqlite| store.apply_now(Batch::one(&check), Action::Spend);

        let error = spend(&child).unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Closed, Effect::NotApplied));
        child.close();
        drop(child);
        assert_eq!(spend(&parent).unwrap()[0].remaining, 9);
    }
}
