//! A walk through the table, round after round, that drops expired records on its way.
//!
//! An index on the times would find them at once, but would have to be written with every charge.
//! A step of the walk reads a few hundred rows. It comes when some time has passed, or when there
//! are new rows, of which there are four times fewer than it reads: so, while keys come and go,
//! three rows of four are live. Of long logs it drops some hundred segments in a step.

use ratelimit_core::{Micros, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    error::Failure,
    rows::{DELETE, micros},
    long_log::segments::{Past, Segments},
};

/// Where the walk is, and when it goes on.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// The row before the next step; zero, before them all, at the start of a round.
    after: i64,
    /// The soonest expiry among the rows of this round. `None` if there were none.
    soonest: Option<Timestamp>,
    /// No row expires sooner, for all that this process knows.
    barren_until: Timestamp,
    rest_until: Timestamp,
    /// New rows since the last step.
    added: usize,
    is_due: bool,
}

impl Walk {
    /// Whether a step is due.
    pub(crate) const fn is_due(&self) -> bool {
        self.is_due
    }

    /// Whether a step at `now` would find nothing.
    pub(crate) fn is_barren(&self, now: Timestamp) -> bool {
        now < self.barren_until
    }

    /// Takes note of a row that is written.
    pub(crate) fn note(&mut self, expires: Timestamp, is_new: bool) {
        self.soonest = Some(self.soonest.map_or(expires, |soonest| soonest.min(expires)));
        self.barren_until = self.barren_until.min(expires);
        self.added += usize::from(is_new);
    }

    /// Takes note of the time. A clock that steps back does not put the walk off.
    pub(crate) fn pass(&mut self, now: Timestamp) {
        self.barren_until = self.barren_until.min(now + LOOK_AGAIN);
        self.rest_until = self.rest_until.min(now + REST);
        let is_rested = self.rest_until <= now || ADDED_MAX <= self.added;
        self.is_due = is_rested && !self.is_barren(now);
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
        let expired = [self.after, last.unwrap_or(i64::MAX), micros(now)];
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
            self.barren_until = soonest.min(now + LOOK_AGAIN);
        }
        self.after = last.unwrap_or_default();
        self.rest_until = now + REST;
        self.added = 0;
        Ok(())
    }
}

/// Drops what is expired of long logs, up to so many segments; gives the record that has some left.
fn drop_logs(connection: &Connection, expired: [i64; 3]) -> Result<Option<i64>, Failure> {
    let mut select = connection.prepare_cached(LOGS)?;
    let logs = select.query_map(expired, |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut left = SEGMENTS;
    for (record, past) in logs.collect::<Result<Vec<(i64, Vec<u8>)>, _>>()? {
        let past = Past::decode(Some(&past)).unwrap_or_default();
        let segments = past.numbers();
        if left < segments.end - segments.start {
            let past = past.without_before(segments.start + left);
            Segments { connection, record }.drop_before(past.numbers().start)?;
            connection.prepare_cached(SHORTEN)?.execute(params![record, past.encode()])?;
            return Ok(Some(record));
        }
        connection.prepare_cached(DELETE)?.execute([record])?;
        left -= segments.end - segments.start;
    }
    Ok(None)
}

const LAST: &str = "SELECT id FROM record WHERE ?1 < id ORDER BY id LIMIT 1 OFFSET ?2";
const DROP: &str =
    "DELETE FROM record WHERE ?1 < id AND id <= ?2 AND expires <= ?3 AND past IS NULL";
const LOGS: &str = "SELECT id, past FROM record \
    WHERE ?1 < id AND id <= ?2 AND expires <= ?3 AND past IS NOT NULL ORDER BY id";
const SHORTEN: &str = "UPDATE record SET past = ?2 WHERE id = ?1";
const SOONEST: &str = "SELECT min(expires) FROM record WHERE ?1 < id AND id <= ?2";

/// Rows of one step: it takes a millisecond or less, even if it drops them all.
const ROWS: i64 = 256;

/// Segments that one step drops: these take as long.
const SEGMENTS: u64 = 512;

/// Four rows are looked at for each new one.
const ADDED_MAX: usize = 64;

/// Between two steps, if there are few new rows: the walk takes some hundredths of the time.
const REST: Micros = Micros::from_millis(10);

/// Between two rounds, since other processes write rows that this one has not seen.
const LOOK_AGAIN: Micros = Micros::from_secs(1);
