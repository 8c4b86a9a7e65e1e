//! The latency of the limiter's store, and the lateness of the machine.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use ratelimit_algorithms::Backend;
use ratelimit_backend::{Names, Reply};
use ratelimit_core::{Action, Batch, ConfigError, Policy};
use tokio::time::{Instant, sleep};

/// A store that notes how long each answer takes. Clones are the same store.
#[derive(Clone)]
pub(crate) struct Timed<B> {
    inner: B,
    took: Arc<Mutex<Vec<Duration>>>,
}

impl<B> Timed<B> {
    pub(crate) fn over(inner: B) -> Self {
        Self { inner, took: Arc::default() }
    }

    /// Their durations, the shortest first.
    pub(crate) fn took(&self) -> Vec<Duration> {
        let mut took = self.took.lock().unwrap().clone();
        took.sort_unstable();
        took
    }
}

impl<B: Backend> Backend for Timed<B> {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        Reply::waiting(async move {
            let begun = Instant::now();
            let answer = self.inner.apply(batch, action).await;
            self.took.lock().unwrap().push(begun.elapsed());
            answer
        })
    }

    fn names(&self) -> &Names {
        self.inner.names()
    }

    fn accepts(&self, policy: &Policy) -> Result<(), ConfigError> {
        self.inner.accepts(policy)
    }
}

/// The most by which a timer on the thread that serves was late: no deadline is kept better there,
/// whoever keeps it.
pub(crate) struct Lateness(Arc<AtomicU64>);

impl Lateness {
    pub(crate) fn measure() -> Self {
        let worst = Arc::new(AtomicU64::new(0));
        let ours = Arc::clone(&worst);
        tokio::spawn(async move {
            loop {
                let begun = Instant::now();
                sleep(TICK).await;
                let late = begun.elapsed().saturating_sub(TICK).as_micros();
                ours.fetch_max(u64::try_from(late).unwrap_or(u64::MAX), SeqCst);
            }
        });
        Self(worst)
    }

    pub(crate) fn worst(&self) -> Duration {
        Duration::from_micros(self.0.load(SeqCst))
    }
}

const TICK: Duration = Duration::from_millis(1);
