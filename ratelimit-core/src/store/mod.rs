//! For stores, not for applications: the step, records, and their forms outside of memory.

pub(crate) mod decisions;
mod decode;
mod encode;
mod segment;
mod words;

pub use self::{
    decisions::Decisions, encode::VERSION, segment::LogSegment, words::words_beside_log,
};
pub use crate::{
    request::Slot,
    state::{
        compact::{CompactState, CompactStep},
        record::Record,
    },
    step::apply,
};
