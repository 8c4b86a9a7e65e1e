//! Promises of the crate, checked from outside.
//!
//! [`rule`] draws policies, [`trace`] draws what happens to a key, [`subject`] is the only place
//! that calls the crate, [`model`] holds the seven algorithms once more: slow, obvious and exact.
//! Every other file is a promise. Longer runs: `PROPTEST_CASES=10000 cargo test`.

mod key_under_test;
mod model;
mod rule;
mod trace;

mod agreement;
mod batches;
mod blocks;
mod bounds;
mod carry_over;
mod change_instants;
mod clock;
mod compact;
mod configuration;
mod debt;
mod debt_bounds;
mod denial;
mod drift;
mod encoding;
mod equal_decisions;
mod extremes;
mod forgetting;
mod in_flight;
mod in_flight_model;
mod segments;
mod settling;
mod settling_cases;
mod take;
mod tightness;
mod to_and_fro;
mod words;
