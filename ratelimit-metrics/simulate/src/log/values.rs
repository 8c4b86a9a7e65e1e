//! The values of a line.

use std::borrow::Cow;

use smallvec::SmallVec;

/// The values of a line, in the order in which they were wanted; `None` where there is none.
pub(crate) type Values<'a> = SmallVec<[Option<Cow<'a, [u8]>>; 8]>;

/// The reason why a line is no request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NoRequest {
    /// It is a line of another kind, which the format knows.
    Other,
    /// It cannot be read.
    Bad(&'static str),
}
