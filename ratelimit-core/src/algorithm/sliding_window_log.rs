//! Sliding window log: at most `limit` permits in every half-open stretch of length `window`.
//!
//! Each charge is remembered with its instant, and counts until exactly one window later. It is
//! the only one that is exact over every stretch of time, and pays for it with memory:
//! one entry of 16 bytes per charge (not per permit), at most `entries_max` of them.

use alloc::{vec, vec::Vec};
use core::{num::NonZeroU64, time::Duration};

use crate::{
    CarryOver, ConfigError, Cost, LIMIT_MAX, Micros, Outcome, Receipt, Timestamp, WINDOW_MAX,
    algorithm::definition::{Definition, Leasing, Size},
    decision::Standing,
    number::{self, encoding::Reader},
    state::{entries::Log, key_state::KeyState},
};

/// The most entries that a log may keep: a million, 16 MB a key.
///
/// Checks take O(log n). Settling a charge in the middle of a log changes the entries after it,
/// which takes half a millisecond for a million of them; a change of numbers reads all entries.
pub const ENTRIES_MAX: u64 = 1_000_000;

/// At most `limit` permits in every stretch of length `window`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quota {
    limit: NonZeroU64,
    window: NonZeroU64,
    entries_max: u64,
}

/// The numbers that a sliding window log decided by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Detail {
    /// Permits spent within the last window.
    pub used: u64,
}

impl Quota {
    /// At most `limit` permits in every stretch of length `window`. A log holds `limit` entries
    /// at most, since each costs a permit or more.
    ///
    /// # Errors
    ///
    /// If either is zero, `window` is beyond [`WINDOW_MAX`](crate::WINDOW_MAX), or `limit` beyond
    /// [`ENTRIES_MAX`]: for more permits of higher cost, see [`capped`](Self::capped).
    pub fn new(limit: u64, window: Duration) -> Result<Self, ConfigError> {
        let limit = number::at_most(ENTRIES_MAX, "limit", limit)?.get();
        Self::capped(limit, window, limit)
    }

    /// The same with a log of at most `entries_max` entries. A request that would need one more
    /// is denied until the oldest has left the window, so the bound holds all the same.
    ///
    /// # Errors
    ///
    /// If a number is zero or beyond [`LIMIT_MAX`](crate::LIMIT_MAX),
    /// [`WINDOW_MAX`](crate::WINDOW_MAX), [`ENTRIES_MAX`].
    pub fn capped(limit: u64, window: Duration, entries_max: u64) -> Result<Self, ConfigError> {
        Ok(Self {
            limit: number::limit("limit", limit)?,
            window: number::window("window", window)?,
            entries_max: number::at_most(ENTRIES_MAX, "entries_max", entries_max)?.get(),
        })
    }

    const fn length(&self) -> Micros {
        Micros::new(self.window.get())
    }

    /// Returns true if one more entry is one too many.
    fn is_full(&self, log: &Log, now: Timestamp) -> bool {
        log.has_live(self.entries_max, self.length(), now) && log.newest() != Some(now)
    }
}

impl Definition for Quota {
    type State = Log;
    type Detail = Detail;

    const NAME: &'static str = "sliding window log";
    const KIND: u8 = 2;

    fn size(&self) -> Size {
        Size::per_window(self.limit, self.window)
    }

    fn numbers(&self) -> Vec<u64> {
        vec![self.limit.get(), self.window.get(), self.entries_max]
    }

    fn read(input: &mut Reader<'_>) -> Option<Self> {
        let [limit, window, entries_max] = input.numbers()?;
        Self::capped(limit, Duration::from_micros(window), entries_max).ok()
    }

    fn terms(&self, _: Timestamp) -> Vec<(&'static str, u64)> {
        vec![
            ("limit", self.limit.get()),
            ("window", self.window.get()),
            ("entries_max", self.entries_max),
        ]
    }

    fn read_state(&self, input: &mut Reader<'_>) -> Option<Log> {
        Log::read(input)
    }

    /// Permits that were charged just before a window, and are used in it, come on top.
    fn leasing(&self, _: Micros) -> Option<Leasing> {
        Some(Leasing { excess_max: self.limit.get(), ends_with_window: false })
    }

    /// A permit counts for as long again as it may be held.
    fn for_leases(&self, length: Micros) -> Result<Self, ConfigError> {
        Self::capped(self.limit.get(), (self.length() + length).into(), self.entries_max)
    }

    fn fresh(&self, _: Timestamp) -> Log {
        Log::default()
    }

    fn rewind(&self, log: &mut Log, now: Timestamp) {
        log.rewind(now);
    }

    fn outcome(&self, log: &Log, now: Timestamp, cost: Cost) -> Outcome {
        let room = log.falls_to(self.limit.get().saturating_sub(cost.get()), self.length(), now);
        let entry = if self.is_full(log, now) { log.first_leaves(self.length(), now) } else { now };
        if now < room || now < entry {
            return Outcome::Deny { retry_after: room.max(entry) - now };
        }
        Outcome::ALLOW
    }

    fn charge(&self, log: &mut Log, now: Timestamp, cost: Cost) {
        log.push(self.length(), now, cost);
    }

    fn refund(&self, log: &mut Log, now: Timestamp, cost: Cost) {
        log.take(self.length(), now, cost);
    }

    fn settle(&self, log: &mut Log, now: Timestamp, cost: Cost, receipt: Receipt) {
        log.take_at(receipt.at, self.length(), now, cost);
    }

    fn debt_max(&self) -> u64 {
        let windows = WINDOW_MAX.as_micros() / self.window;
        windows.saturating_mul(self.limit.get()).min(LIMIT_MAX)
    }

    /// Up to a limit is charged as soon as as much has left the window. Of more, each limit is charged
    /// when the one before has left, the first when the newest entry has.
    fn repay(&self, log: &Log, owed: Cost) -> Option<(Timestamp, Log)> {
        let (newest, before) = (log.newest()?, owed.get().saturating_sub(1));
        let (limits, last) = (before / self.limit, (before % self.limit).saturating_add(1));
        let (mut after, at) = if limits == 0 {
            let keep = self.limit.get().saturating_sub(last);
            let room = log.falls_to(keep, self.length(), newest);
            (log.clone(), room.max(log.first_leaves(self.length(), newest)))
        } else {
            let windows = self.window.get().saturating_mul(limits.saturating_add(1));
            (Log::default(), newest + Micros::new(windows))
        };
        after.push(self.length(), at, Cost::new(last)?);
        Some((at, after))
    }

    fn standing(&self, log: &Log, now: Timestamp) -> Standing {
        let used = log.used(self.length(), now);
        let room = self.limit.get().saturating_sub(used);
        Standing {
            limit: self.limit.get(),
            remaining: if self.is_full(log, now) { 0 } else { room },
            reset_after: log.last_leaves(self.length(), now) - now,
            seen: [used, 0],
        }
    }

    /// The entries that still count keep their instants, whatever the window. Those whose share comes to
    /// nothing go. Of more than fit, the oldest are merged: no request fits before the last of them leaves.
    fn carry(&self, from: &Self, log: &mut Log, rule: CarryOver, now: Timestamp) {
        log.drop_expired(from.length(), now);
        if rule == CarryOver::Proportional {
            log.scale(self.limit, from.limit);
        }
        log.merge_oldest(self.entries_max);
    }

    fn entries_max(&self) -> Option<u64> {
        Some(self.entries_max)
    }

    fn keep(&self, log: &Log, now: Timestamp) -> Log {
        log.summary(self.length(), now)
    }

    fn join(&self, log: &mut Log, other: &Log, now: Timestamp) {
        log.drop_expired(self.length(), now);
        log.join(other);
        log.merge_oldest(self.entries_max);
    }

    fn detail(&self, [used, _]: [u64; 2], _: Timestamp) -> Detail {
        Detail { used }
    }
}

impl KeyState for Log {
    const WORDS_BESIDE_LOG: Option<usize> = Some(0);

    fn words(&self) -> Vec<u64> {
        Self::words(self).collect()
    }

    fn log_mut(&mut self) -> Option<&mut Log> {
        Some(self)
    }
}
