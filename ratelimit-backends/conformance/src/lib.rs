//! Every promise of a rate-limit store as a test, in one macro line.
//!
//! A store conforms if its decisions are those of [`ratelimit_core::store::apply`] over a map in
//! one thread, whatever the calls, their order and their concurrency. Each promise has a test of
//! its own, and decisions are compared field by field.
//!
//! ```
//! // tests/conformance.rs: the whole file
//! # use ratelimit_backend::{BackendError, ManualClock, Names, Reply, Backend};
//! # use ratelimit_core::{Action, Batch};
//! # struct MyStore;
//! # impl MyStore { fn with_clock(_: ManualClock) -> Self { Self } }
//! # impl Backend for MyStore {
//! #     fn apply<'a>(&'a self, _: Batch<'a>, _: Action) -> Reply<'a> { unimplemented!() }
//! #     fn names(&self) -> &Names { unimplemented!() }
//! # }
//! ratelimit_conformance::suite!(async |clock| MyStore::with_clock(clock));
//! ```
//!
//! [`suite!`] describes the expression, and lists the promises; [`processes!`] adds one for stores
//! that several processes share. Tests of your own can use the [`ReferenceStore`], policies of
//! [each kind](one_of_each), and a [`subprocess`].

mod processes;
mod suite;

mod batches;
mod holds;
mod keys;
mod live_change;
mod one_key;
mod races;
mod traces;

mod effort;
mod generators;
mod policies;
mod reference;
mod store_under_test;

pub use crate::{
    effort::Effort, policies::one_of_each, processes::subprocess, reference::ReferenceStore,
};
#[doc(hidden)]
pub use crate::{
    generators::random_policies,
    processes::run_processes,
    store_under_test::StoreUnderTest,
    suite::{promise, run},
};
