//! The table of segments, and of the nodes that sum them up.

use ratelimit_core::{StateError, store::LogSegment};
use rusqlite::{Connection, OptionalExtension, params};

use super::outline::{Address, BITS, Charge, Outline, Sum, decode_sums, encode_sums};
use crate::error::Failure;

/// The segments of one record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segments<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) record: i64,
}

impl Segments<'_> {
    /// The entries of a segment.
    pub(crate) fn charges(self, at: Address) -> Result<Vec<Charge>, Failure> {
        Ok(LogSegment::decode(&self.read(at)?)?.entries().collect())
    }

    /// The sums of a node.
    pub(crate) fn sums(self, at: Address) -> Result<Vec<Sum>, Failure> {
        Ok(decode_sums(&self.read(at)?)?)
    }

    fn read(self, at: Address) -> Result<Vec<u8>, Failure> {
        let mut select = self.connection.prepare_cached(SELECT)?;
        let key = params![self.record, at.level, at.number.cast_signed()];
        let body = select.query_row(key, |row| row.get(0)).optional()?;
        Ok(body.ok_or(StateError::Corrupt)?)
    }

    pub(crate) fn write_charges(self, at: Address, charges: &[Charge]) -> Result<(), Failure> {
        self.write(at, &segment_of(charges)?.encode())
    }

    pub(crate) fn write_sums(self, at: Address, sums: &[Sum]) -> Result<(), Failure> {
        self.write(at, &encode_sums(sums))
    }

    fn write(self, at: Address, body: &[u8]) -> Result<(), Failure> {
        let values = params![self.record, at.level, at.number.cast_signed(), body];
        self.connection.prepare_cached(INSERT)?.execute(values)?;
        Ok(())
    }

    /// Deletes the oldest segments that are left, so many of them, and the nodes above them.
    pub(crate) fn delete_oldest(self, outline: &mut Outline, segments: u64) -> Result<(), Failure> {
        let (before, end) = (outline.deleted, outline.deleted + segments);
        for level in 0..outline.levels() {
            let number = end >> (BITS * level);
            if before >> (BITS * level) < number {
                self.delete(DELETE_BEFORE, Address { level, number })?;
            }
        }
        outline.deleted = end;
        Ok(())
    }

    /// Deletes what lies at `start` and behind it, on its level.
    pub(crate) fn delete_from(self, start: Address) -> Result<(), Failure> {
        self.delete(DELETE_FROM, start)
    }

    fn delete(self, statement: &str, at: Address) -> Result<(), Failure> {
        let key = params![self.record, at.level, at.number.cast_signed()];
        self.connection.prepare_cached(statement)?.execute(key)?;
        Ok(())
    }
}

/// A log of these entries.
pub(crate) fn segment_of(charges: &[Charge]) -> Result<LogSegment, StateError> {
    LogSegment::from_entries(charges.iter().map(|&(at, cost)| (at, cost, 1)))
}

pub(crate) const SELECT: &str =
    "SELECT body FROM segment WHERE record = ?1 AND level = ?2 AND number = ?3";
pub(crate) const INSERT: &str =
    "INSERT OR REPLACE INTO segment (record, level, number, body) VALUES (?1, ?2, ?3, ?4)";
const DELETE_BEFORE: &str = "DELETE FROM segment WHERE record = ?1 AND level = ?2 AND number < ?3";
const DELETE_FROM: &str = "DELETE FROM segment WHERE record = ?1 AND level = ?2 AND ?3 <= number";
