//! Limits that change while they are in use, as an application changes them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cost;
#[cfg(all(feature = "json", feature = "toml"))]
mod file;
mod names;
#[cfg(feature = "serde")]
mod rules;
mod tiers;
mod updates;

/// What a test returns, so that it can use `?`.
type Outcome = Result<(), Box<dyn std::error::Error>>;
