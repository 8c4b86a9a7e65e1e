//! The simulation, from outside: its decisions, the logs that it reads, what it finds and shows.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod command;
mod day;
mod exact;
mod examples;
mod formats;
mod lines;
mod memory;
mod page;
mod search;
mod tutorial;
