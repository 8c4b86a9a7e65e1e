//! Entries of long logs that do not fit their record's row.

pub(crate) mod decide;
pub(crate) mod layout;
pub(crate) mod partial_log;
pub(crate) mod segments;
