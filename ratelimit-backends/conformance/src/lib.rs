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

mod again;
mod processes;
mod suite;

mod agreement;
mod answers;
mod batches;
mod changes;
mod keys;
mod races;

mod draw;
mod reference;
mod rules;
mod subject;
mod trace;

pub use crate::{again::again, reference::Reference, rules::one_of_each, suite::Effort};
#[doc(hidden)]
pub use crate::{
    processes::share,
    subject::Subject,
    suite::{keep, promise},
};
