//! The way back from bytes, or from a header and words, to a record; see `encode`.
//!
//! Reading builds the numbers anew and checks the state against them, so that no bytes, whatever
//! wrote them, lead to a state that no step could have left.

use alloc::boxed::Box;

use super::{
    LogSegment,
    encode::{BLOCKED, CHANGED, OWING, VERSION},
};
use crate::{
    Algorithm, Policy, StateError,
    algorithm::State,
    number::encoding::Reader,
    state::{block::Block, earlier::Earlier, entries::Log, record::Record, sensor::Sensor},
};

impl Record {
    /// Reads the bytes of [`encode`](Self::encode). The record shares the numbers of `policy` where
    /// they are the same.
    ///
    /// # Errors
    ///
    /// [`StateError::Version`] for another version, [`StateError::Corrupt`] for bytes that are no
    /// record.
    pub fn decode(bytes: &[u8], policy: &Policy) -> Result<Self, StateError> {
        Self::from_words(bytes, &[], policy)
    }

    /// Reads a record from its [`header`](Self::header) and [`words`](Self::words). It shares the
    /// numbers of `policy` where they are the same.
    ///
    /// # Errors
    ///
    /// As [`decode`](Self::decode): no header and no words, whatever wrote them, lead to a state
    /// that no step could have left.
    pub fn from_words(header: &[u8], words: &[u64], policy: &Policy) -> Result<Self, StateError> {
        match header {
            [] | [VERSION] => Err(StateError::Corrupt),
            &[VERSION, ref bytes @ ..] => {
                let mut input = Reader { bytes, words };
                let record = read(&mut input, policy).filter(|_| input.is_empty());
                record.ok_or(StateError::Corrupt)
            }
            &[found, ..] => Err(StateError::Version { found, want: VERSION }),
        }
    }
}

impl LogSegment {
    /// Reads the bytes of [`encode`](Self::encode).
    ///
    /// # Errors
    ///
    /// [`StateError::Corrupt`] for bytes that are no segment.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let mut input = Reader { bytes, words: &[] };
        let log = Log::read(&mut input).filter(|_| input.is_empty());
        log.map(Self).ok_or(StateError::Corrupt)
    }
}

fn read(input: &mut Reader<'_>, policy: &Policy) -> Option<Record> {
    let mut kind = input.byte()?;
    let mut has = |wrapper| -> Option<bool> {
        let has = kind == wrapper;
        if has {
            kind = input.byte()?;
        }
        Some(has)
    };
    let (is_changed, is_blocked, is_owing) = (has(CHANGED)?, has(BLOCKED)?, has(OWING)?);
    let algorithm = Algorithm::read(kind, input)?;
    let state = if algorithm.kind() == kind {
        State::read(&algorithm, input)?
    } else {
        let is_plain = !is_changed && !is_blocked && !is_owing;
        State::Sensor(Box::new(Sensor::read(input).filter(|_| is_plain)?))
    };
    let block = if is_blocked { Some(Block::read(input)?) } else { None };
    let is_debt = |owed: &u64| (1..=algorithm.debt_max()).contains(owed);
    let owed = if is_owing { input.number().filter(is_debt)? } else { 0 };
    let earlier = if is_changed { Some(Box::new(Earlier::read(kind, input)?)) } else { None };
    let is_same = algorithm == *policy.algorithm();
    let under = if is_same { policy.clone() } else { policy.with_algorithm(algorithm) };
    Some(Record { under, state, owed, block, earlier })
}
