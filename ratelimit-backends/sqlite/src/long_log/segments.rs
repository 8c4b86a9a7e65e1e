//! The table of segments: entries of long logs that do not fit into their records' rows.
//!
//! A record's row keeps the newest entries of its log. Those before them are counted from zero, and
//! lie in rows of `segment`, [`ENTRIES`] in each.

use std::ops::Range;

use ratelimit_core::{
    StateError,
    store::{LogSegment, Record},
};
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::Failure;

/// The segments of one record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segments<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) record: i64,
}

/// A segment as it is stored.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) entries: LogSegment,
    /// What all entries up to its last one cost; it wraps.
    pub(crate) cost: u64,
}

/// What a record's row says of the entries before its own.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Past {
    /// How many there are, with those that are gone.
    pub(crate) entries: u64,
    /// How many, counted from zero, are gone for good.
    pub(crate) gone: u64,
    /// What they all cost; it wraps.
    pub(crate) cost: u64,
}

impl Segments<'_> {
    pub(crate) fn read(self, number: u64) -> Result<Stored, Failure> {
        let mut select = self.connection.prepare_cached(SELECT)?;
        let found = select.query_row([self.record, number.cast_signed()], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
        });
        let (cost, entries) = found.optional()?.ok_or(StateError::Corrupt)?;
        let entries = LogSegment::decode(&entries)?;
        if entries.len() == ENTRIES {
            Ok(Stored { entries, cost: cost.cast_unsigned() })
        } else {
            Err(StateError::Corrupt.into())
        }
    }

    /// The record with all of its log.
    pub(crate) fn whole(self, mut record: Record, past: Past) -> Result<Record, Failure> {
        let mut segments = Vec::new();
        for number in past.numbers() {
            segments.push(self.read(number)?.entries);
        }
        if let Some(oldest) = segments.first_mut() {
            let _ = oldest.split_off_oldest(past.gone_of_first());
        }
        segments.extend(record.take_log());
        Ok(record.with_log(segments)?)
    }

    pub(crate) fn write(self, number: u64, segment: &Stored) -> Result<(), Failure> {
        let [number, cost] = [number, segment.cost].map(u64::cast_signed);
        let values = params![self.record, number, cost, segment.entries.encode()];
        self.connection.prepare_cached(INSERT)?.execute(values)?;
        Ok(())
    }

    /// Drops the segments before `number`.
    pub(crate) fn drop_before(self, number: u64) -> Result<(), Failure> {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        self.connection.prepare_cached(DROP)?.execute([self.record, number])?;
        Ok(())
    }
}

impl Past {
    /// Reads what [`encode`](Self::encode) wrote.
    pub(crate) fn decode(stored: Option<&[u8]>) -> Result<Self, StateError> {
        let Some(bytes) = stored else { return Ok(Self::default()) };
        let (&[entries, gone, cost], []) = bytes.as_chunks() else {
            return Err(StateError::Corrupt);
        };
        let [entries, gone, cost] = [entries, gone, cost].map(u64::from_be_bytes);
        if gone < entries && entries.is_multiple_of(ENTRIES as u64) {
            Ok(Self { entries, gone, cost })
        } else {
            Err(StateError::Corrupt)
        }
    }

    /// What to store: its numbers or, as for most records, nothing.
    pub(crate) fn encode(self) -> Option<Vec<u8>> {
        let Self { entries, gone, cost } = self;
        (0 < entries).then(|| [entries, gone, cost].map(u64::to_be_bytes).concat())
    }

    /// The segments that are not gone.
    pub(crate) fn numbers(self) -> Range<u64> {
        self.gone / ENTRIES as u64..self.entries / ENTRIES as u64
    }

    /// What is left without the segments before `number`.
    pub(crate) fn without_before(self, number: u64) -> Self {
        Self { gone: number * ENTRIES as u64, ..self }
    }

    /// How many entries of the first of them are gone.
    pub(crate) fn gone_of_first(self) -> usize {
        usize::try_from(self.gone).unwrap_or(usize::MAX) % ENTRIES
    }
}

/// Entries of a segment: so a row is hardly ever longer than what a page keeps of it.
pub(crate) const ENTRIES: usize = 32;

pub(crate) const SELECT: &str =
    "SELECT cost, entries FROM segment WHERE record = ?1 AND number = ?2";
const INSERT: &str = "INSERT INTO segment (record, number, cost, entries) VALUES (?1, ?2, ?3, ?4)";
const DROP: &str = "DELETE FROM segment WHERE record = ?1 AND number < ?2";
