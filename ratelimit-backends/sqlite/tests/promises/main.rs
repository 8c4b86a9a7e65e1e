//! Promises of a store in a SQLite file beyond those of every store: see `conformance.rs`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod agreement;
mod bounds;
mod callers;
mod clocks;
mod files;
mod logs;
mod processes;
mod records;
mod space;
#[cfg(unix)]
mod unix_files;
mod waiting;

mod child;
mod store_under_test;
