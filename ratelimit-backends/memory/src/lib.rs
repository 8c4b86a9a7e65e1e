//! Rate-limit state in the memory of one process.
//!
//! Atomicity comes from the lock of the shard that a key falls into; a batch locks its shards in
//! ascending order, so two batches never wait for each other. No lock is held while anything is
//! awaited, and no caller's code but the clock's runs under one. A crash leaves nothing: the state
//! goes with the process.
//!
//! The number of keys is bounded. Keys that are as good as new are evicted, in small steps, when
//! room is needed; no other key ever is. When there is no room left, new keys are refused with
//! [`ErrorKind::Capacity`](ratelimit_backend::ErrorKind::Capacity), and known keys stay exact. A
//! flood of new keys cannot make a full store sweep again and again: a store of more than two thousand
//! keys may refuse them while up to a sixteenth of its keys is idle.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod memory;
mod shard_locks;
mod table;

mod shards;

#[cfg(feature = "dashmap")]
mod dashmap;
mod mutexes;

mod slot;

#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
mod clock;
mod entry;
mod expiry;
#[cfg(all(target_family = "wasm", target_os = "unknown"))]
mod no_clock;
mod sync;

#[cfg(all(test, ratelimit_loom))]
mod models;

#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
pub use crate::clock::SwiftClock;
#[cfg(feature = "dashmap")]
pub use crate::dashmap::Dashmap;
#[cfg(all(target_family = "wasm", target_os = "unknown"))]
pub use crate::no_clock::SwiftClock;
pub use crate::{memory::Memory, mutexes::Mutexes};
