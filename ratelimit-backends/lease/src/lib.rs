//! Leases of a shared limit: permits taken ahead from a remote store, and spent at memory speed.
//!
//! A store that several hosts share costs a round trip per check. [`Leased`] is a backend around
//! any backend. It takes some permits of a hot key ahead, in one call, and admits requests from
//! them without further calls, for a short time: the *length* of a lease. The store charges the
//! permits when they are taken, keeps no list of holders, and needs no support for leases.
//!
//! # At most ε over
//!
//! If the burst equals the limit of one period, and the length of leases is a share ε of the period
//! ([`LeaseLength::share`]), all hosts together admit *at most a share ε above* the limit, in any
//! interval of time: whatever their number, the number of keys, the traffic, the partitions and the
//! crashes. For 10 000 a minute, 1 % is 100 permits, and leases of 600 ms.
//!
//! In general, with leases of length L and N holders of at most n permits each:
//!
//! | limit | admitted above it, in any interval | with [`Algorithm::for_leases`] |
//! |---|---|---|
//! | token bucket, leaky bucket as a meter, rate r | min(N · n, ⌈r · L⌉) | 0 |
//! | fixed window, also of a calendar | 0 | 0 |
//! | sliding window log | min(N · n, limit) | 0 |
//! | sliding window counter, r = limit / window | min(N · n, ⌈r · L⌉), above its own 2 · limit − 1 | 0 |
//! | adaptive, leaky bucket as a queue, permits in flight | refused by [`Backend::accepts`]: every request has to be seen, or ordered | |
//!
//! [`LeaseTerms`] computes these numbers for a policy, and has the theorem and its proof. A test reaches each of them.
//!
//! | event | admitted above that | admitted less |
//! |---|---|---|
//! | a partition | 0: what is held, until the lease is over; then what the store's wrappers say | – |
//! | a holder crashes | 0 | ≤ n, until it comes back or the window ends |
//! | the reply to a take is lost | 0: it is never used, and never sent again | ≤ n |
//! | the reply to a refund is lost | 0: a refund is sent once, by receipt | ≤ n |
//! | the store's clock steps | as without leases | one window |
//! | a holder's clock is slow by up to 0.1 % | 0: leases end that much earlier | – |
//! | a holder is stopped between look and use | ≤ n, once for each such holder | – |
//! | the store fails over and loses the last δ | what was charged in δ, as without leases | – |
//!
//! A stopped holder is a process that the system does not run, or a machine that is suspended while its
//! monotonic clock stands still: what it was about to admit may be late.
//!
//! # When not to lease
//!
//! - Limits of few permits: none are taken ahead unless one host needs four or more in the length
//!   of a lease. A lease shorter than two round trips has no effect either.
//! - Limits that must not be exceeded at all, unless their numbers are those of [`Algorithm::for_leases`].
//! - Keys whose reset or block must take effect at once on every host: other hosts admit what they
//!   hold, for the length of a lease at most.
//!
//! # Beside other wrappers
//!
//! Wrap a store that may fail in its deadline, breaker and fallback first:
//! `Leased::new(Resilient::new(store), …)`. Decisions of a fallback are never leased. The other
//! order works, too; then permits that are held are not used while the breaker is open. Lists and
//! shadow mode go around it. A deny cache is built in.
//!
//! [`Algorithm::for_leases`]: ratelimit_core::Algorithm::for_leases
//! [`Backend::accepts`]: ratelimit_backend::Backend::accepts
//! [`LeaseTerms`]: ratelimit_core::LeaseTerms
#![cfg_attr(docsrs, feature(doc_cfg))]

mod holder;
mod leased;
mod leases;
mod takes;

mod table;

mod demand;
mod entry;
mod length;

mod join;
mod stats;

#[cfg(test)]
mod exhaustive;
#[cfg(test)]
mod lookups;

pub use crate::{leased::Leased, length::LeaseLength, stats::LeaseStats};

/// Runs the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
