//! Promises of the crate, checked from outside.
//!
//! [`rule`] draws policies, [`trace`] draws what happens to a key, [`subject`] is the only place
//! that calls the crate, [`model`] holds the seven algorithms once more: slow, obvious and exact.
//! Every other file is a promise. Longer runs: `PROPTEST_CASES=10000 cargo test`.

mod model;
mod rule;
mod subject;
mod trace;

mod agreement;
mod answers;
mod batches;
mod blocks;
mod bounds;
mod carry_over;
mod changes;
mod clock;
mod compact;
mod configuration;
mod debt;
mod denial;
mod drift;
mod encoding;
mod exchange;
mod extremes;
mod forgetting;
mod holds;
mod in_flight;
mod segments;
mod settling;
mod settling_cases;
mod take;
mod tightness;
mod to_and_fro;
