//! The setup of the rows about memory: our limiter and governor's over the same keys and clock.

use std::{
    hash::BuildHasher,
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use fastrand::Rng;
use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock as GovernorClock, QuantaClock},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::keyed::DashMapStateStore,
};
use ratelimit_algorithms::{Algorithm, Limiter, TokenBucket};
use ratelimit_backend::{Clock, ManualClock};
use ratelimit_core::Timestamp;
use ratelimit_memory::Memory;

/// A clock that both sides read: it stands, so that neither pays for more than the reading.
#[derive(Clone, Debug)]
pub(crate) struct SharedClock(pub(crate) ManualClock);

impl SharedClock {
    pub(crate) fn new() -> Self {
        let start = Timestamp::from_micros(1_700_000_000_000_000);
        Self(ManualClock::new(start.unwrap_or_default()))
    }
}

impl GovernorClock for SharedClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.0.now().map_or(0, Timestamp::as_micros) * 1_000)
    }
}

/// The outcome that the checks are to have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    Allowed,
    Denied,
}

impl Outcome {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
        }
    }

    /// A bucket that lets all of a run pass, or one permit an hour. Neither is soon as good as
    /// new, which would be another question.
    pub(crate) fn bucket(self) -> TokenBucket {
        match self {
            Self::Allowed => TokenBucket::per(1, Duration::from_secs(1)).burst(MANY.get().into()),
            Self::Denied => TokenBucket::per(1, Duration::from_secs(3_600)),
        }
    }

    /// The same for governor.
    pub(crate) fn quota(self) -> Result<Quota> {
        let quota = match self {
            Self::Allowed => {
                Quota::with_period(Duration::from_secs(1)).map(|quota| quota.allow_burst(MANY))
            }
            Self::Denied => Quota::with_period(Duration::from_secs(3_600)),
        };
        quota.context("the period is not zero")
    }
}

const MANY: NonZeroU32 = NonZeroU32::new(100_000_000).unwrap();

/// Room for all keys of any row.
pub(crate) const ROOM: NonZeroUsize = NonZeroUsize::new(1_000_000).unwrap();

/// Our limiter on a store that goes by `clock`.
pub(crate) fn ours<C: Clock>(
    clock: C,
    algorithm: impl TryInto<Algorithm, Error: Into<ratelimit_algorithms::ConfigError>>,
) -> Result<Limiter<Memory<C>>> {
    Ok(Limiter::new(Memory::with_clock(clock, ROOM), "bench", algorithm)?)
}

/// Governor's, keyed by string, with a hasher and clock of our choice.
pub(crate) type Governor<S> =
    RateLimiter<String, DashMapStateStore<String, S>, SharedClock, NoOpMiddleware<Nanos>>;

pub(crate) fn governor<S: BuildHasher + Clone + Default>(
    clock: &SharedClock,
    outcome: Outcome,
) -> Result<Governor<S>> {
    let quota = outcome.quota()?;
    Ok(RateLimiter::dashmap_with_clock_and_hasher(quota, clock.clone(), S::default()))
}

/// Governor's, keyed by string, as it comes: with `quanta`'s clock and the standard hasher.
pub(crate) fn governor_as_installed(
    outcome: Outcome,
) -> Result<Arc<DefaultKeyedRateLimiter<String>>> {
    Ok(Arc::new(RateLimiter::dashmap_with_clock(outcome.quota()?, QuantaClock::default())))
}

/// The keys of a row, in the order in which they are asked for: 12 bytes each.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Keys {
    /// One hot key.
    One,
    /// Ten thousand, evenly.
    Many,
    /// A million, the most frequent by far more often.
    Zipf,
}

impl Keys {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::One => "1 hot key",
            Self::Many => "10 000 keys",
            Self::Zipf => "10^6 keys, zipf",
        }
    }

    pub(crate) const fn count(self) -> usize {
        match self {
            Self::One => 1,
            Self::Many => 10_000,
            Self::Zipf => 1_000_000,
        }
    }

    /// Every key once.
    pub(crate) fn each(self) -> impl Iterator<Item = String> {
        (0..self.count()).map(key)
    }

    /// So many of them, laid out in order, as keys of requests are: just made, and in the cache.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below count")]
    pub(crate) fn asked(self, checks: usize) -> Vec<String> {
        let count = self.count() as f64;
        let mut random = Rng::with_seed(0);
        let pick = |_| match self {
            // The inverse of a frequency that falls with one over the rank.
            Self::Zipf => key(count.powf(random.f64()) as usize % self.count()),
            _ => key((random.f64() * count) as usize % self.count()),
        };
        (0..checks).map(pick).collect()
    }
}

/// The key of that number, in 12 bytes.
pub(crate) fn key(number: usize) -> String {
    format!("user:{number:07}")
}
