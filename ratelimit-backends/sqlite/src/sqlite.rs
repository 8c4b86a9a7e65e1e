//! The handle of a store.

use std::{
    fmt,
    path::Path,
    process,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use oneshot::RecvTimeoutError;
use ratelimit_backend::{
    Backend, BackendError, Clock, ErrorKind, Names, Reply, SyncBackend, transact::refuse,
};
use ratelimit_core::{Action, Batch, Check, store::Decisions};

use crate::{
    SqliteSettings,
    busy::deadline_after,
    group_commit::Committer,
    job::{Answer, Job, Turn, Undelivered},
    writer::Writer,
};

/// Keeps state in a SQLite file. Clones are the same store.
///
/// Async callers are served by the store's own thread, and never block theirs. Synchronous callers
/// block until the transaction is done; when nobody else is waiting, they run it themselves.
/// Dropping the last clone answers the callers that still wait, then closes the file.
#[derive(Clone)]
pub struct Sqlite(Arc<Inner>);

struct Inner {
    writer: Arc<Writer>,
    names: Names,
    clock: Arc<dyn Clock>,
    deadline: Duration,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// The process that opened it. A forked child has neither the thread nor the locks.
    process: u32,
}

impl Sqlite {
    /// Opens the store in the file at `path`, and makes the file if there is none.
    ///
    /// # Errors
    ///
    /// See [`SqliteSettings::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, BackendError> {
        SqliteSettings::file(path).open()
    }

    /// Opens a store in memory, private to this handle and its clones.
    ///
    /// # Errors
    ///
    /// If there is no memory or no thread.
    pub fn in_memory() -> Result<Self, BackendError> {
        SqliteSettings::in_memory().open()
    }

    fn with_settings(settings: SqliteSettings) -> Result<Self, BackendError> {
        let (deadline, queue_max) = (settings.deadline, settings.queue_max.get());
        let names = match settings.path {
            Some(_) => Names::with_shared_store(),
            None => Names::default(),
        };
        let clock = Arc::clone(&settings.clock);
        let writer = Arc::new(Writer::new(Committer::open(settings)?, queue_max));
        let serve = {
            let writer = Arc::clone(&writer);
            move || writer.serve()
        };
        let thread = thread::Builder::new().name("ratelimit-sqlite".to_owned()).spawn(serve);
        let thread = thread.map_err(|error| {
            BackendError::not_applied(ErrorKind::Unavailable).with_source(error)
        })?;
        Ok(Self(Arc::new(Inner {
            writer,
            names,
            clock,
            deadline,
            thread: Mutex::new(Some(thread)),
            process: process::id(),
        })))
    }

    /// Refuses further calls with [`ErrorKind::Closed`], and blocks until those that wait are
    /// answered and the file is closed.
    pub fn close(&self) {
        self.0.close();
    }
}

impl SqliteSettings {
    /// Opens the store, and starts the thread that serves async callers.
    ///
    /// # Errors
    ///
    /// All leave the file as it was.
    ///
    /// - `Incompatible`: it belongs to something else or to a newer version of this library, or
    ///   its file system cannot keep a write-ahead log.
    /// - `Corrupt`: it is no database.
    /// - `ReadOnly`: it, or its folder, takes no writes.
    /// - `Timeout`: another process kept it locked for five seconds.
    /// - `Full`, `Unavailable`: there is no space, no such folder, no thread.
    pub fn open(self) -> Result<Sqlite, BackendError> {
        Sqlite::with_settings(self)
    }
}

impl Inner {
    /// The deadline of a call that begins now.
    fn deadline(&self) -> Result<Instant, BackendError> {
        if self.is_forked() {
            return Err(BackendError::not_applied(ErrorKind::Closed));
        }
        Ok(deadline_after(self.deadline))
    }

    fn enqueue(
        &self,
        batch: Batch<'_>,
        action: Action,
        deadline: Instant,
    ) -> Result<(oneshot::Receiver<Undelivered>, Arc<Turn>), BackendError> {
        let (mut job, answer) = Job::new(batch, action, deadline);
        if holds(batch, action) {
            let (writer, length) = (Arc::clone(&self.writer), self.deadline);
            job = job.or_give_back(move |checks| {
                // A store that is closed leaves them to lapse.
                let _ = writer.push(Job::refund(checks, deadline_after(length)));
            });
        }
        let turn = job.turn();
        self.writer.push(job)?;
        Ok((answer, turn))
    }

    fn push_unawaited(&self, batch: Batch<'_>, action: Action) -> Result<(), BackendError> {
        self.writer.push(Job::unawaited(batch, action, self.deadline()?))
    }

    /// Waits for an answer until `deadline`, and not much longer if the turn has begun by then.
    fn wait(answer: &oneshot::Receiver<Undelivered>, turn: &Turn, deadline: Instant) -> Answer {
        match answer.recv_deadline(deadline) {
            Err(RecvTimeoutError::Timeout) if turn.give_up() => {
                return Err(BackendError::not_applied(ErrorKind::Timeout));
            }
            Err(RecvTimeoutError::Timeout) => answer.recv_deadline(deadline + TURN_MAX),
            answer => answer,
        }
        .map_or_else(
            |error| match error {
                RecvTimeoutError::Timeout => Err(BackendError::unknown(ErrorKind::Timeout)),
                RecvTimeoutError::Disconnected => Err(lost()),
            },
            Undelivered::deliver,
        )
    }

    fn close(&self) {
        if self.is_forked() {
            return;
        }
        self.writer.close();
        let mut handle = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        // The thread itself is here when a waker that it calls drops the last handle.
        if let Some(handle) =
            handle.take_if(|handle| handle.thread().id() != thread::current().id())
        {
            // It catches its panics.
            let _ = handle.join();
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
    /// no charge, and later one whole charge; permits in flight are given back then, since nobody
    /// holds them.
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        if let Some(refused) = refuse(batch, action, &*self.0.clock) {
            return Reply::ready(refused);
        }
        Reply::waiting(async move {
            let (answer, _) = self.0.enqueue(batch, action, self.0.deadline()?)?;
            answer.await.map_or_else(|_| Err(lost()), Undelivered::deliver)
        })
    }

    /// Returns `None`, since there is a wait, unless the store need not be asked.
    fn apply_if_ready(
        &self,
        batch: Batch<'_>,
        action: Action,
    ) -> Option<Result<Decisions, BackendError>> {
        refuse(batch, action, &*self.0.clock)
    }

    /// The store's own thread does it, and [`close`](Self::close) waits for that. Returns false if the store
    /// is closed, or its queue is full.
    fn apply_unawaited(&self, batch: Batch<'_>, action: Action) -> bool {
        self.apply_if_ready(batch, action).is_some() || self.0.push_unawaited(batch, action).is_ok()
    }

    fn names(&self) -> &Names {
        &self.0.names
    }
}

impl SyncBackend for Sqlite {
    /// Blocks the calling thread until the transaction is done: some ten microseconds on an idle
    /// store, up to the deadline on a busy one.
    fn apply_now(&self, batch: Batch<'_>, action: Action) -> Result<Decisions, BackendError> {
        if let Some(refused) = refuse(batch, action, &*self.0.clock) {
            return refused;
        }
        let deadline = self.0.deadline()?;
        if let Some(answer) = self.0.writer.try_apply(batch, action, deadline) {
            return answer;
        }
        let (answer, turn) = self.0.enqueue(batch, action, deadline)?;
        Inner::wait(&answer, &turn, deadline)
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite").field("deadline", &self.0.deadline).finish_non_exhaustive()
    }
}

/// Returns true if the action may make holds.
fn holds(batch: Batch<'_>, action: Action) -> bool {
    let holds = |check: &Check<'_>| check.policy().algorithm().holds_permits();
    action.spends() && batch.checks().iter().any(holds)
}

/// A panic of the caller's clock or waker took the job with it, before or after its transaction.
const fn lost() -> BackendError {
    BackendError::unknown(ErrorKind::Unavailable)
}

/// The time that a turn gets to end after its deadline, so that its effect is known.
const TURN_MAX: Duration = Duration::from_millis(5);

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
        let settings = SqliteSettings::file(folder.path().join("limits.db"));
        let parent = settings.with_clock(ManualClock::default()).open().unwrap();
        let child = Sqlite(Arc::new(Inner {
            writer: Arc::clone(&parent.0.writer),
            names: Names::default(),
            clock: Arc::clone(&parent.0.clock),
            deadline: parent.0.deadline,
            thread: Mutex::new(None),
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
