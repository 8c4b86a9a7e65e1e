//! Long logs of charges: entries that do not fit their record's row.
//!
//! A row keeps the newest entries of its log. Those before them lie in the table of segments, 32 in
//! each. 32 segments are summed up by one node, 32 nodes by one node of the next level, and so on;
//! the row keeps the [`Outline`](outline::Outline): the sums that no node holds yet. So a few reads
//! lead to any entry, and a few writes change one.
//!
//! The core decides about the log as about any other. It is shown one entry in place of each part
//! that has not been read, once as old as the part may be and once as new. Where the two decisions
//! are the same, and neither changes such a part, that is the decision; otherwise one more part is
//! read. No algorithm is known here.
//!
//! So giving a charge back, blocking a key or stepping back in time reads and writes O(log n) rows.
//! All of them are read by a change of numbers that scales all entries, as `Proportional` does, and
//! by one that comes while states under still other numbers count: once for each such change. A log
//! that lies in its row alone never comes here.

pub(crate) mod decide;
pub(crate) mod outline;
pub(crate) mod partial_log;
pub(crate) mod segments;
pub(crate) mod write_back;
