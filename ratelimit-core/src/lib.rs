//! Seven rate-limiting algorithms as pure functions over plain data.
//!
//! A [`Policy`] is an algorithm with its numbers under a name. [`store::apply`] takes the records
//! of one or several checks, the time, and gives back the records to store and a [`Decision`] for
//! each. It computes in exact integers, so decisions are the same on every store.
//!
//! This crate never reads a clock, never does I/O, never waits and never panics. It needs `alloc`,
//! nothing else.
//!
//! ```
//! use core::time::Duration;
//! use ratelimit_core::{Action, Batch, Check, Key, Policy, Timestamp, token_bucket, store::apply};
//!
//! # fn main() -> Result<(), Box<dyn core::error::Error>> {
//! let quota = token_bucket::Quota::new(2, 1, Duration::from_secs(1))?;
//! let policy = Policy::new("api", quota)?;
//! let check = Check::new(&policy, Key::new("user:42")?, 2)?;
//!
//! let mut record = [None];
//! let now = Timestamp::EPOCH;
//! let first = apply(Batch::one(&check), Action::Spend, &mut record, now)?[0];
//! let second = apply(Batch::one(&check), Action::Spend, &mut record, now)?[0];
//! assert!(first.is_allowed());
//! assert_eq!(second.retry_after().as_secs_ceil(), 2);
//! # Ok(())
//! # }
//! ```
#![no_std]
#![warn(clippy::arithmetic_side_effects)]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod algorithm;
mod calendar;
mod carry_over;
mod cost;
mod decision;
mod error;
mod lease;
mod number;
mod policy;
mod request;
mod state;
mod step;
pub mod store;
mod time;

pub use crate::{
    algorithm::{
        Algorithm, Detail,
        adaptive::{self, AdaptiveLayer},
        fixed_window, in_flight, leaky_bucket, sliding_window_counter, sliding_window_log,
        token_bucket,
    },
    calendar::Calendar,
    carry_over::CarryOver,
    cost::{Cost, Receipt},
    decision::{Decision, Outcome, Source},
    error::{ConfigError, CostError, KeyTooLong, StateError},
    lease::LeaseTerms,
    number::{LIMIT_MAX, UNLIMITED, WINDOW_MAX, WINDOW_MIN, fraction::Fraction},
    policy::Policy,
    request::{Action, Batch, Check, Key},
    time::{Micros, TimeOutOfRange, Timestamp},
};
