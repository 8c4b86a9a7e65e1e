//! Access logs: their formats, their lines, and what is in a line.

mod combined;
mod csv;
mod format;
mod json;
mod lines;
mod names;
mod parser;
mod values;

pub use self::format::{Format, LogError};
pub(crate) use self::{
    lines::read_lines,
    parser::{Parser, format_of},
    values::{NoRequest, Values},
};
