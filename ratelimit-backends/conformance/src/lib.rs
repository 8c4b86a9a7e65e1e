//! Every promise of a rate-limit store as a test, in one macro line.
//!
//! A store conforms if it keeps records as well as a map in one thread would: the answers are
//! [`ratelimit_core::store::apply`]'s, whatever the calls, their order and their number at once. The
//! suite asks it all that, each promise in a test of its own, and compares field by field.
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
//! [`suite!`] says what the expression has to be, and lists the promises; [`processes!`] adds one
//! that only stores can keep which several processes share. For tests of one's own
//! there are its parts: the [`Reference`], policies of [each kind](one_of_each), and a test run
//! [again] as another process.

mod processes;
mod subprocess;
mod suite;

mod agreement;
mod batches;
mod keys;
mod live_change;
mod one_key;
mod races;

mod generators;
mod policies;
mod reference;
mod store_under_test;
mod traces;

pub use crate::{policies::one_of_each, reference::Reference, subprocess::again, suite::Effort};
#[doc(hidden)]
pub use crate::{
    processes::share,
    store_under_test::Subject,
    suite::{keep, promise},
};
