//! What stores need, and applications do not: the step, records, and their forms outside of memory.

pub use crate::{
    apply::{Decisions, apply},
    check::Slot,
    encoding::VERSION,
    meter::Record,
    segment::LogSegment,
    small::{SmallRecord, Spent},
};
