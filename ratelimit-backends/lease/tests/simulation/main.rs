//! Leases against their theorem: simulated holders, a simulated network, and the core as the store.
//!
//! Every event has its instant, and nothing runs by itself: a seed reproduces a run. The holders are real ones,
//! with their locks and futures; only their clocks and their store are simulated.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bound;
mod random;
mod reached;
mod world;
