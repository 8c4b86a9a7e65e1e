//! The simulation, from outside: its decisions, the logs that it reads, what it finds and shows.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod command;
mod exact;
mod examples;
mod formats;
mod generated_log;
mod lines;
mod memory;
mod page;
mod search;
mod tutorial;
