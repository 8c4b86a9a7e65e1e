//! The versioned bytes of a record, for stores that keep bytes; see `decode` for the way back.
//!
//! ```text
//! version · algorithm · its numbers, as its constructor takes them · its state
//! ```
//!
//! Version and algorithm are a byte each, everything else is an unsigned LEB128 integer.

use alloc::vec::Vec;

use super::LogSegment;
use crate::{Algorithm, algorithm::State, number::encoding, state::record::Record};

/// The version of the encoding that this library writes, and the only one it reads.
pub const VERSION: u8 = 1;

/// The kind of a key's state with a block around it; the kind of the state follows, as a third
/// byte.
pub(crate) const BLOCKED: u8 = 8;

/// The kind of a key's state that owes permits; the kind of the state follows.
pub(crate) const OWING: u8 = 11;

/// The kind of a record with states under earlier numbers behind the rest; what it would be without
/// them follows.
pub(crate) const CHANGED: u8 = 9;

impl Record {
    /// The bytes to store.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.header();
        let earlier = self.earlier();
        if !earlier.is_empty() {
            bytes.insert(1, CHANGED);
        }
        let words = self.words().into_iter().chain(earlier);
        words.for_each(|word| encoding::write(&mut bytes, word));
        bytes
    }

    /// Version, algorithm and numbers: with the [`words`](Self::words) and, where the numbers have
    /// changed, the [`earlier`](Self::earlier) ones, all of the record.
    #[must_use]
    pub fn header(&self) -> Vec<u8> {
        let algorithm = self.under.algorithm();
        let kind = match self.state {
            State::Sensor(_) => algorithm.sensor_kind(),
            _ => Some(algorithm.kind()),
        };
        let is_owing = (0 < self.owed).then_some(OWING);
        let kinds = self.block.map(|_| BLOCKED).into_iter().chain(is_owing).chain(kind);
        header(kinds, algorithm)
    }
}

impl LogSegment {
    /// The bytes to store.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.0.words().for_each(|word| encoding::write(&mut bytes, word));
        bytes
    }
}

/// All of a record but its words: the kinds of its parts, and the numbers it was written under.
pub(crate) fn header(kinds: impl IntoIterator<Item = u8>, algorithm: &Algorithm) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(32);
    bytes.push(VERSION);
    bytes.extend(kinds);
    algorithm.numbers().into_iter().for_each(|number| encoding::write(&mut bytes, number));
    bytes
}
