//! A store that fails on cue, and short ways to ask it.

use std::{
    collections::VecDeque,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
#[cfg(feature = "tokio")]
use std::{future::poll_fn, pin::Pin, task::Poll};

use ratelimit_backend::{
    Backend, BackendError, Clock, ErrorKind, ManualClock, Names, Reply, SyncBackend,
};
use ratelimit_core::{
    Action, Algorithm, Batch, Check, Decision, Key, Policy, Timestamp, fixed_window,
    store::Decisions, token_bucket,
};
use ratelimit_memory::Memory;
use tokio::sync::Semaphore;

/// Memory that does as it is told, a cue for each call; then as `otherwise` says. Clones are the
/// same store.
#[derive(Clone, Debug)]
pub(crate) struct Faulty {
    memory: Memory<ManualClock>,
    script: Arc<Script>,
}

#[derive(Debug)]
struct Script {
    cues: Mutex<VecDeque<Cue>>,
    otherwise: Mutex<Cue>,
    asked: AtomicU64,
    recoveries: AtomicU64,
    gate: Semaphore,
}

/// The fate of a call to the store.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cue {
    Answer,
    Fail(ErrorKind),
    Panic,
    /// Decides after the first time, answers after the second.
    Late(Duration, Duration),
    /// Decides and answers when [`Faulty::let_one_through`] is called.
    Hold,
    /// Fails then.
    HoldAndFail(ErrorKind),
    Never,
}

impl Faulty {
    pub(crate) fn new(clock: &ManualClock) -> Self {
        Self::bounded(clock, 10_000)
    }

    pub(crate) fn bounded(clock: &ManualClock, keys_max: usize) -> Self {
        let script = Script {
            cues: Mutex::default(),
            otherwise: Mutex::new(Cue::Answer),
            asked: AtomicU64::new(0),
            recoveries: AtomicU64::new(0),
            gate: Semaphore::new(0),
        };
        Self { memory: memory(clock, keys_max), script: Arc::new(script) }
    }

    /// The fates of the next calls, before those that are otherwise told.
    pub(crate) fn cue(&self, cues: impl IntoIterator<Item = Cue>) {
        self.script.cues.lock().expect("no holder panics").extend(cues);
    }

    pub(crate) fn otherwise(&self, cue: Cue) {
        *self.script.otherwise.lock().expect("no holder panics") = cue;
    }

    /// Tells that it may have come back.
    pub(crate) fn come_back(&self) {
        self.script.recoveries.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn let_one_through(&self) {
        self.script.gate.add_permits(1);
    }

    /// The number of calls that have come as far as this.
    pub(crate) fn asked(&self) -> u64 {
        self.script.asked.load(Ordering::SeqCst)
    }

    /// The permits left of `key`, past all wrappers and cues.
    pub(crate) fn left(&self, policy: &Policy, key: &str) -> u64 {
        let check = check(policy, key, 1);
        let decisions = self.memory.apply_now(Batch::one(&check), Action::Peek);
        decisions.expect("memory answers")[0].remaining
    }

    async fn wait_at_gate(&self) {
        self.script.gate.acquire().await.expect("it is never closed").forget();
    }

    fn next(&self) -> Cue {
        self.script.asked.fetch_add(1, Ordering::SeqCst);
        let cue = self.script.cues.lock().expect("no holder panics").pop_front();
        cue.unwrap_or_else(|| *self.script.otherwise.lock().expect("no holder panics"))
    }
}

impl Backend for Faulty {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        let answer = move || self.memory.apply_now(batch, action);
        match self.next() {
            Cue::Answer => Reply::ready(answer()),
            Cue::Fail(kind) => Reply::ready(Err(failure(kind))),
            Cue::Panic => panic!("the store panics on cue"),
            Cue::Late(before, after) => Reply::waiting(async move {
                tokio::time::sleep(before).await;
                let answer = answer();
                tokio::time::sleep(after).await;
                answer
            }),
            Cue::Hold => Reply::waiting(async move {
                self.wait_at_gate().await;
                answer()
            }),
            Cue::HoldAndFail(kind) => Reply::waiting(async move {
                self.wait_at_gate().await;
                Err(failure(kind))
            }),
            Cue::Never => Reply::waiting(std::future::pending()),
        }
    }

    fn names(&self) -> &Names {
        self.memory.names()
    }

    fn recoveries(&self) -> u64 {
        self.script.recoveries.load(Ordering::SeqCst)
    }
}

impl SyncBackend for Faulty {
    fn apply_now(&self, batch: Batch<'_>, action: Action) -> Result<Decisions, BackendError> {
        match self.next() {
            Cue::Answer => self.memory.apply_now(batch, action),
            Cue::Fail(kind) => Err(failure(kind)),
            Cue::Panic => panic!("the store panics on cue"),
            cue => panic!("{cue:?} is not for those who cannot wait"),
        }
    }
}

pub(crate) type Answer = Result<Decision, BackendError>;

pub(crate) fn clock() -> ManualClock {
    ManualClock::new(Timestamp::from_micros(1_700_000_012_345_678).expect("it is before 2255"))
}

/// A clock that cannot tell the time.
#[derive(Debug)]
pub(crate) struct Broken;

impl Clock for Broken {
    fn now(&self) -> Result<Timestamp, BackendError> {
        Err(failure(ErrorKind::Clock))
    }
}

pub(crate) fn memory(clock: &ManualClock, keys_max: usize) -> Memory<ManualClock> {
    Memory::with_clock(clock.clone(), NonZeroUsize::new(keys_max).expect("room for something"))
}

/// A charge counts for an hour, at least until the next full one.
pub(crate) fn hourly(name: &str, limit: u64) -> Policy {
    let window = Duration::from_secs(3_600);
    let quota = fixed_window::Quota::new(limit, window, fixed_window::Align::First);
    policy(name, quota.expect("good numbers"))
}

/// As many a second, and at once.
pub(crate) fn per_second(name: &str, limit: u64) -> Policy {
    let quota = token_bucket::Quota::new(limit, limit, Duration::from_secs(1));
    policy(name, quota.expect("good numbers"))
}

fn policy(name: &str, algorithm: impl Into<Algorithm>) -> Policy {
    Policy::new(name, algorithm).expect("a good name")
}

pub(crate) fn check<'a>(policy: &'a Policy, key: &'a str, cost: u64) -> Check<'a> {
    Check::new(policy, Key::new(key).expect("a short key"), cost).expect("a cost that fits")
}

/// Polls a reply so often, unless it ends, and waits in between; then drops it.
#[cfg(feature = "tokio")]
pub(crate) async fn poll_and_drop(mut reply: Reply<'_>, polls: usize, pause: Duration) {
    for _ in 0..polls {
        if poll_fn(|context| Poll::Ready(Pin::new(&mut reply).poll(context))).await.is_ready() {
            break;
        }
        tokio::time::sleep(pause).await;
    }
}

/// Asks on this thread.
pub(crate) fn ask(store: &impl SyncBackend, check: Check<'_>, action: Action) -> Answer {
    Ok(store.apply_now(Batch::one(&check), action)?[0])
}

pub(crate) fn spend(store: &impl SyncBackend, policy: &Policy, key: &str) -> Answer {
    ask(store, check(policy, key, 1), Action::Spend)
}

/// Asks several as one, both ways that a store can be asked: `other` is a store like it.
pub(crate) fn ask_all<B: SyncBackend>(
    [store, other]: [&B; 2],
    checks: &[Check<'_>],
    action: Action,
) -> Result<Vec<Decision>, BackendError> {
    let batch = Batch::new(checks).expect("no two about the same");
    let answer = store.apply_now(batch, action);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.build().expect("a runtime can be made");
    let awaited = runtime.block_on(other.apply(batch, action));
    let kind = |answer: Result<Decisions, BackendError>| {
        answer.map_err(|error| (error.kind(), error.effect()))
    };
    assert_eq!(kind(answer.clone()), kind(awaited), "both ways are one");
    Ok(answer?.to_vec())
}

pub(crate) async fn ask_awaiting(store: &impl Backend, check: Check<'_>, action: Action) -> Answer {
    Ok(store.apply(Batch::one(&check), action).await?[0])
}

pub(crate) fn failure(kind: ErrorKind) -> BackendError {
    match kind {
        ErrorKind::Timeout => BackendError::unknown(kind),
        _ => BackendError::not_applied(kind),
    }
}

/// The reason why a request has no answer.
pub(crate) fn kind(answer: &Answer) -> Option<ErrorKind> {
    answer.as_ref().err().map(BackendError::kind)
}

/// Every kind of error that there is.
pub(crate) const KINDS: [ErrorKind; 12] = [
    ErrorKind::Unavailable,
    ErrorKind::Timeout,
    ErrorKind::Overloaded,
    ErrorKind::ReadOnly,
    ErrorKind::Auth,
    ErrorKind::Full,
    ErrorKind::Corrupt,
    ErrorKind::Incompatible,
    ErrorKind::Capacity,
    ErrorKind::Protocol,
    ErrorKind::Closed,
    ErrorKind::Clock,
];
