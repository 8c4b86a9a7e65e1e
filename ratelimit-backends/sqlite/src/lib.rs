//! Rate-limit state in a SQLite file: one host, many processes, survives restarts.
//!
//! Atomicity comes from `BEGIN IMMEDIATE`: reading the records, the decision and writing what
//! follows are one transaction under the file's only write lock. Within a process one thread at a
//! time holds the connection, and all decisions that wait for it are one transaction, each applied
//! in turn. A denial that changes nothing writes nothing, and a peek only reads.
//!
//! A crash of the process leaves a decision whole or not at all: acknowledged decisions are in the
//! file, and no repair is needed. So does a loss of power under [`Synchronous::Full`]; under
//! [`Synchronous::Normal`], the default, it may also undo the last decisions. A timeout charges
//! nothing: a caller that does not get the write lock in time gets
//! [`ErrorKind::Timeout`](ratelimit_backend::ErrorKind::Timeout). A charge without space, because
//! of a full disk, a quota or a limit on the size of files, is not made either: that is
//! [`ErrorKind::Full`](ratelimit_backend::ErrorKind::Full).
//!
//! ```
//! use ratelimit_algorithms::{Limiter, TokenBucket};
//! use ratelimit_sqlite::Sqlite;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("limits.db");
//! let limiter = Limiter::new(Sqlite::open(&path)?, "api", TokenBucket::per_hour(10))?;
//! assert_eq!(limiter.check("user:42").now()?.remaining, 9);
//! drop(limiter);
//!
//! let again = Limiter::new(Sqlite::open(&path)?, "api", TokenBucket::per_hour(10))?;
//! assert_eq!(again.check("user:42").now()?.remaining, 8);
//! # Ok(())
//! # }
//! ```
//!
//! # Bounds
//!
//! The number of records is bounded ([`SqliteSettings::with_keys_max`]), for all processes together.
//! Records that are as good as new are dropped in small steps between transactions; the file does
//! not shrink, its free pages are used again.
//!
//! The write-ahead log is written back when it has grown to 4 MiB, and cut to that size when it starts
//! anew. A thread of its own does so, and no call waits for it. Processes that write without a pause
//! let the log grow to 16 MiB, and only a read transaction that is kept open lets it grow further.
//!
//! A call returns at its deadline. Two waits are longer: for a disk that hangs in the middle of the
//! call's own transaction, and, for an async caller, for one that hangs in somebody else's. An error
//! says [`Effect::Unknown`](ratelimit_backend::Effect::Unknown) then, and nowhere else but for
//! failures of the disk in a commit.
//!
//! A log of requests takes three to six bytes an entry. A long one lies in segments of 32 entries,
//! under nodes that sum them up, and a call reads and writes O(log n) rows of a log of n entries,
//! most often one or two: also to give a charge back, to block a key or under other numbers of its
//! policy. Some do more work: a refund without a receipt, a reset and a step back in time delete the
//! segments that they empty, one row for each 32 entries; and a change of numbers under
//! `CarryOver::Proportional` rewrites all entries, once.
//!
//! So a check of a full log of 10,000 entries costs about twice as much as a check of a single
//! entry; rewriting the log would cost a hundred times as much.
//!
//! # Files
//!
//! The store needs a file system with locks and shared memory, as SQLite's write-ahead log does: not
//! a network share. The file, its log (`-wal`) and its shared memory (`-shm`) belong together.
//!
//! The store makes them readable and writable by their owner only, whatever the umask. A user with
//! read access sees keys, and can stop all writers by a shared lock. An existing file keeps its
//! mode, and its companions get the same: so a group may share a store, if it is trusted with both.
//!
//! Once a second each process looks at the file, and if it was deleted or replaced, opens the new one.
//! If only the log was deleted, the processes that have it open write it back and let go of it. Until all
//! have done so, most often for two seconds, calls are refused as
//! [`ErrorKind::Unavailable`](ratelimit_backend::ErrorKind::Unavailable), and newcomers wait. No charge is lost,
//! unless the last process that has the log open is killed before. Another program that has the file open
//! keeps the store closed for that long: it should close it.
//!
//! A store does not work in a forked child: its calls get
//! [`ErrorKind::Closed`](ratelimit_backend::ErrorKind::Closed).
#![cfg_attr(docsrs, feature(doc_cfg))]

mod settings;
mod sqlite;

mod group_commit;
mod job;
mod writer;

mod long_log;
mod purge;
mod rows;

mod busy;
mod database;
mod error;
mod file;
mod schema;
mod wal;

pub use crate::{
    settings::{SqliteSettings, Synchronous},
    sqlite::Sqlite,
};

/// The README's examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
