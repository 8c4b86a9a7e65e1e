//! Rate limiters over any store, and the seven algorithms to build them of.
//!
//! A [`Limiter`] is a store, a name, and an algorithm. Each of its methods makes a request, which is
//! awaited on any store, or answered on the calling thread with `now()`, on stores that can
//! ([`SyncBackend`]: memory and SQLite):
//!
//! ```
//! use ratelimit_algorithms::{FixedWindow, Limiter, Limits, TokenBucket};
//! use ratelimit_memory::Memory;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Memory::new();
//! let burst = Limiter::new(store.clone(), "burst", TokenBucket::per_second(10).burst(20))?;
//! let daily = Limiter::new(store, "daily", FixedWindow::per_day(50_000))?;
//!
//! assert!(burst.check("user:42").now()?.is_allowed());
//!
//! // Several limits at once: all of them are charged, or none.
//! let decision = Limits::new(&burst, "user:42", 1).and(&daily, "org:7", 1).check().now()?;
//! assert!(decision.is_allowed());
//! assert_eq!(decision.each()[decision.bound()].remaining, 18);
//! # Ok(())
//! # }
//! ```
//!
//! To make a denial an error, acquire a [`Permit`]; with the feature `macros` a function asks for
//! its own:
//!
#![cfg_attr(feature = "macros", doc = "```")]
#![cfg_attr(not(feature = "macros"), doc = "```ignore")]
//! use std::sync::LazyLock;
//! use ratelimit_algorithms::{AcquireError, Limiter, TokenBucket, rate_limit};
//! use ratelimit_memory::Memory;
//!
//! static EXPORTS: LazyLock<Limiter<Memory>> = LazyLock::new(|| {
//!     Limiter::new(Memory::new(), "exports", TokenBucket::per_minute(10)).expect("fine numbers")
//! });
//!
//! #[rate_limit(limiter = EXPORTS, key = format!("user:{user_id}"), cost = 5)]
//! fn export(user_id: u64) -> Result<String, AcquireError> {
//!     Ok(format!("all of {user_id}"))
//! }
//!
//! assert!(export(42).is_ok() && export(42).is_ok() && export(42).is_err());
//! ```
//!
//! Limits may change while they are in use: [`Live`] is a limit that does, [`Tiers`] are several
//! under one name; with the features `toml` and `json` limits are in a file. Anything else that
//! decides which limit a key has implements [`Policies`].
//!
//! Callers who would rather wait than be denied use [`until_ready`](Limiter::until_ready), or
//! [`pace`](Limiter::pace) for an even flow; awaited with the feature `tokio`, or by a [`Timer`] of
//! your own:
//!
//! ```
//! # use ratelimit_algorithms::{Limiter, TokenBucket};
//! # use ratelimit_memory::Memory;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let limiter = Limiter::new(Memory::new(), "mails", TokenBucket::per_second(1_000))?;
//! limiter.until_ready("user:42").cost(2).wait()?;
//! # Ok(())
//! # }
//! ```
//!
//! No decision depends on a clock or a state of this crate: both are the store's.
#![cfg_attr(doc, doc = "How to choose, run, test and extend all this is in the [guide].")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod acquire;
mod charge;
mod limiter;
mod limits;
mod permit;
mod request;
mod run;
mod settle;
mod wait;

mod builders;
#[cfg(feature = "calendar")]
mod calendar;
mod config;
mod live;
mod policies;
mod tiers;
mod unbounded;

mod decision;
mod error;
mod for_http;
mod prepared;
mod progress;

#[cfg(any(doc, doctest))]
pub mod guide;

#[cfg(feature = "calendar")]
pub use crate::calendar::{CalendarWindow, Period, Weekday};
#[cfg(any(feature = "json", feature = "toml"))]
pub use crate::config::{FileError, LimitsFile, Watch};
#[cfg(feature = "serde")]
pub use crate::config::{Rule, RuleError};
#[cfg(feature = "tokio")]
pub use crate::wait::TokioClock;
pub use crate::{
    acquire::Acquire,
    builders::{
        Adaptive, FixedWindow, InFlight, LeakyBucket, SlidingWindowCounter, SlidingWindowLog,
        TokenBucket,
    },
    config::NotationError,
    decision::{LimitsDecision, Status},
    error::{AcquireError, Error, WaitError},
    limiter::Limiter,
    limits::{Limits, LimitsRequest},
    live::Live,
    permit::{One, Permit, Permits, Several},
    policies::{Policies, Visit},
    request::Request,
    run::Run,
    settle::{Extend, Settle},
    tiers::{InTier, Tier, TierByKey, Tiers},
    unbounded::{Nothing, Unlimited},
    wait::{Pace, Timer, TokioTimer, Wait, Waiters},
};
#[doc(hidden)]
pub use crate::{prepared::PreparedCheck, wait::before};
pub use ratelimit_backend::{
    Backend, BackendError, Claim, Clock, Effect, ErrorKind, ManualClock, MonotonicClock, Names,
    SyncBackend, WallClock,
};
pub use ratelimit_core::{
    AdaptiveLayer, Algorithm, Calendar, CarryOver, ConfigError, CostError, Decision, Detail,
    Fraction, KeyTooLong, Micros, Outcome, Policy, Receipt, Source, TimeOutOfRange, Timestamp,
    UNLIMITED, WINDOW_MAX, adaptive::Scope, fixed_window::Align,
};
#[cfg(feature = "macros")]
pub use ratelimit_macros::rate_limit;

/// The README's examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
