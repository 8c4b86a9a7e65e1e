//! The command lines of `cargo xtask`: what each command takes, and how it is read.
//!
//! Commands that are programs of their own read theirs by the same table, so a wrong argument is
//! refused before anything is built.

mod command_line;
mod commands;

pub use crate::{
    command_line::{Arguments, Command, Request, print_help},
    commands::{BENCH, DEMO, REPLAY, commands, usage},
};
