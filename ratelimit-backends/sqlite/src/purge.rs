//! Purging: a sweep through the table, round after round, that drops expired records.
//!
//! An index on the times would find them at once, but every charge would have to write it.
//! A step of the sweep reads a few hundred rows. It is due when some time has passed, or when there
//! are new rows, a quarter as many as it reads: so, while keys come and go, three rows of four are
//! live. A step drops at most some hundred segments of long logs.

use ratelimit_core::{Micros, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    error::Failure,
    long_log::{outline::Outline, segments::Segments},
};

/// The position of the sweep, and when it goes on.
#[derive(Debug, Default)]
pub(crate) struct Purge {
    /// The row before the next step; zero, before them all, at the start of a round.
    after: i64,
    /// The soonest expiry among the rows of this round. `None` if there were none.
    soonest: Option<Timestamp>,
    /// No row expires sooner, for all that this process knows.
    nothing_until: Timestamp,
    rest_until: Timestamp,
    /// New rows since the last step.
    added: usize,
    is_due: bool,
}

impl Purge {
    /// Returns true if a step is due.
    pub(crate) const fn is_due(&self) -> bool {
        self.is_due
    }

    /// Returns true if a step at `now` would find nothing.
    pub(crate) fn is_in_vain(&self, now: Timestamp) -> bool {
        now < self.nothing_until
    }

    /// Takes note of a row that is written.
    pub(crate) fn note(&mut self, expires: Timestamp, is_new: bool) {
        self.soonest = Some(self.soonest.map_or(expires, |soonest| soonest.min(expires)));
        self.nothing_until = self.nothing_until.min(expires);
        self.added += usize::from(is_new);
    }

    /// Takes note of the time. A clock that steps back does not put the next step off.
    pub(crate) fn pass(&mut self, now: Timestamp) {
        self.nothing_until = self.nothing_until.min(now + LOOK_AGAIN);
        self.rest_until = self.rest_until.min(now + REST);
        let is_rested = self.rest_until <= now || ADDED_MAX <= self.added;
        self.is_due = is_rested && !self.is_in_vain(now);
    }

    /// Puts the next step off, until some time passes.
    pub(crate) const fn rest(&mut self) {
        self.is_due = false;
    }

    /// Goes one step: drops the expired among the next rows.
    pub(crate) fn step(&mut self, connection: &Connection, now: Timestamp) -> Result<(), Failure> {
        let mut last = connection.prepare_cached(LAST)?;
        let last: Option<i64> =
            last.query_row([self.after, ROWS - 1], |row| row.get(0)).optional()?;
        let expired = [self.after, last.unwrap_or(i64::MAX), as_stored(now)];
        connection.prepare_cached(DROP)?.execute(expired)?;
        // The next step goes on with a log of which some is left.
        let last = drop_logs(connection, expired)?.map(|left| left - 1).or(last);
        let range = [self.after, last.unwrap_or(i64::MAX)];
        let soonest: Option<i64> =
            connection.prepare_cached(SOONEST)?.query_row(range, |row| row.get(0))?;
        if let Some(soonest) = soonest.and_then(|at| Timestamp::from_micros(at.cast_unsigned())) {
            self.note(soonest, false);
        }
        if last.is_none() {
            let soonest = self.soonest.take().unwrap_or(Timestamp::MAX);
            self.nothing_until = soonest.min(now + LOOK_AGAIN);
        }
        self.after = last.unwrap_or_default();
        self.rest_until = now + REST;
        self.added = 0;
        Ok(())
    }
}

/// Drops the expired long logs, up to so many segments; returns the record that has some left.
fn drop_logs(connection: &Connection, expired: [i64; 3]) -> Result<Option<i64>, Failure> {
    let mut select = connection.prepare_cached(LOGS)?;
    let logs = select.query_map(expired, |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut left = SEGMENTS_MAX;
    for (record, outline) in logs.collect::<Result<Vec<(i64, Vec<u8>)>, _>>()? {
        let mut outline = Outline::decode(&outline).unwrap_or(Outline::EMPTY);
        let segments = outline.segments - outline.deleted;
        if left < segments {
            outline.sums.clear();
            Segments { connection, record }.delete_oldest(&mut outline, left)?;
            connection.prepare_cached(SHORTEN)?.execute(params![record, outline.encode()])?;
            return Ok(Some(record));
        }
        connection.prepare_cached(DELETE)?.execute([record])?;
        left -= segments;
    }
    Ok(None)
}

/// A time as it is stored.
pub(crate) const fn as_stored(at: Timestamp) -> i64 {
    at.as_micros().cast_signed()
}

pub(crate) const DELETE: &str = "DELETE FROM record WHERE id = ?1";
const LAST: &str = "SELECT id FROM record WHERE ?1 < id ORDER BY id LIMIT 1 OFFSET ?2";
const DROP: &str =
    "DELETE FROM record WHERE ?1 < id AND id <= ?2 AND expires <= ?3 AND outline IS NULL";
const LOGS: &str = "SELECT id, outline FROM record \
    WHERE ?1 < id AND id <= ?2 AND expires <= ?3 AND outline IS NOT NULL ORDER BY id";
const SHORTEN: &str = "UPDATE record SET outline = ?2 WHERE id = ?1";
const SOONEST: &str = "SELECT min(expires) FROM record WHERE ?1 < id AND id <= ?2";

/// Rows of one step: it takes a millisecond or less, even if it drops them all.
const ROWS: i64 = 256;

/// Segments that one step drops: these take as long.
const SEGMENTS_MAX: u64 = 512;

/// Four rows are looked at for each new one.
const ADDED_MAX: usize = 64;

/// Between two steps, if there are few new rows: the sweep takes some hundredths of the time.
const REST: Micros = Micros::from_millis(10);

/// Between two rounds, since other processes write rows that this one has not seen.
const LOOK_AGAIN: Micros = Micros::from_secs(1);
