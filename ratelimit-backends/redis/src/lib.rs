//! Rate-limit state in Redis or Valkey, which many hosts share: standalone, sentinel, cluster.
//!
//! Atomicity comes from the server, which runs one script at a time: a check is one `EVALSHA`,
//! whatever its number of limits, that reads the states, decides at the server's own clock, and
//! writes. On a busy connection many checks share one, each decided by itself. All its keys lie in
//! one hash slot, so this holds in a cluster too; a check that would need two slots is refused with
//! a typed error before anything is sent.
//!
//! A crash or a timeout leaves a check whole or not at all: scripts read everything before they
//! write anything. Every key has a time to live, never shorter than its state matters. A command
//! that is not known to have failed is never sent again, so an error says
//! [`Effect::Unknown`](ratelimit_backend::Effect::Unknown) where a charge may have landed, and no
//! check is ever charged twice.
//!
//! ```no_run
//! use ratelimit_algorithms::{Limiter, TokenBucket};
//! use ratelimit_redis::Redis;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Redis::connect("redis://127.0.0.1:6379").await?;
//! let limiter = Limiter::new(store, "api", TokenBucket::per_second(10).burst(20))?;
//!
//! let decision = limiter.check("user:42").await?;
//! if !decision.is_allowed() {
//!     println!("retry in {}", decision.retry_after());
//! }
//! # Ok(())
//! # }
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

mod redis;
mod settings;

mod compare_and_swap;
mod detached_batch;
mod encoding;
mod eval;
mod keys;
mod list_diff;
mod read_values;
mod script;
mod shared_swap;
mod stored_values;
mod swap;
mod swap_queue;

mod cluster;
mod coalesce;
mod connection;
mod dispatch;
mod error;
mod request;
mod runtimes;
mod wait_queue;

#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzzing;

#[cfg(test)]
mod tests;

pub use crate::{
    redis::{HELD_MAX, LOG_ENTRIES_MAX, Redis},
    settings::{RedisSettings, UrlError},
};

/// The README's examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
