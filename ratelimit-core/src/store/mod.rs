//! What stores need, and applications do not: the step, records, and their forms outside of memory.

mod decode;
pub(crate) mod encode;
mod segment;
mod words;

pub use self::{encode::VERSION, segment::LogSegment};
pub use crate::{
    meter::Record,
    request::Slot,
    small::{SmallRecord, Spent},
    step::{Decisions, apply},
};
