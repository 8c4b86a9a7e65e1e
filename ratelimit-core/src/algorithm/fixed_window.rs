//! Fixed window: at most `limit` permits in each window `[start, start + window)`.
//!
//! Time is cut into windows of equal length, aligned to the Unix epoch (so that all keys and all
//! hosts turn over together) or to the key's first request. One counter is kept per key, and
//! forgotten when its window is over. It is the cheapest of the six to explain, and lets a caller
//! spend one limit at the end of a window and another at the start of the next.

use core::{num::NonZeroU64, time::Duration};

use crate::{
    ConfigError, Cost, Detail, Micros, Outcome, Receipt, Timestamp,
    algorithm::definition::{Arithmetic, Counted},
    decision::Standing,
    number,
};

/// At most `limit` permits per window.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quota {
    limit: NonZeroU64,
    window: NonZeroU64,
    align: Align,
}

/// Where windows begin.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[expect(clippy::exhaustive_enums, reason = "complete by nature")]
pub enum Align {
    /// At whole multiples of the window since the Unix epoch.
    #[default]
    Epoch,
    /// At a key's first request, and at its first request after each window.
    First,
}

/// What is kept per key: the window that was last charged, and how much.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct State {
    pub(crate) start: Timestamp,
    pub(crate) used: u64,
}

impl Quota {
    /// At most `limit` permits in each `window`.
    ///
    /// # Errors
    ///
    /// If either is zero or beyond [`LIMIT_MAX`](crate::LIMIT_MAX),
    /// [`WINDOW_MAX`](crate::WINDOW_MAX).
    pub fn new(limit: u64, window: Duration, align: Align) -> Result<Self, ConfigError> {
        let limit = number::limit("limit", limit)?;
        Ok(Self { limit, window: number::window("window", window)?, align })
    }

    pub(crate) const fn parts(&self) -> (u64, Micros, Align) {
        (self.limit.get(), self.window(), self.align)
    }

    pub(crate) const fn terms(&self) -> [u64; 3] {
        [self.limit.get(), self.window.get(), self.align as u64]
    }

    const fn window(&self) -> Micros {
        Micros::new(self.window.get())
    }

    /// The start of a window that begins because of a request at `now`.
    fn start(&self, now: Timestamp) -> Timestamp {
        match self.align {
            Align::Epoch => now.floor(self.window),
            Align::First => now,
        }
    }

    fn left_of(&self, state: State, now: Timestamp) -> Micros {
        self.window() - (now - state.start)
    }
}

impl Arithmetic for Quota {
    type State = State;

    fn fresh(&self, now: Timestamp) -> State {
        State { start: self.start(now), used: 0 }
    }

    #[inline(always)]
    fn rewind(&self, state: &mut State, now: Timestamp) {
        if now < state.start {
            state.start = self.start(now);
        }
    }

    #[inline(always)]
    fn outcome(&self, state: &State, now: Timestamp, cost: Cost) -> Outcome {
        let state = self.at(*state, now);
        if self.limit.get() < state.used.saturating_add(cost.get()) {
            return Outcome::Deny { retry_after: self.left_of(state, now) };
        }
        Outcome::ALLOW
    }

    #[inline(always)]
    fn charge(&self, state: &mut State, now: Timestamp, cost: Cost) {
        *state = self.at(*state, now);
        state.used = state.used.saturating_add(cost.get());
    }

    fn refund(&self, state: &mut State, now: Timestamp, cost: Cost) {
        *state = self.at(*state, now);
        state.used = state.used.saturating_sub(cost.get());
    }

    fn settle(&self, state: &mut State, now: Timestamp, cost: Cost, receipt: Receipt) {
        if self.at(*state, now).start <= receipt.at {
            self.refund(state, now, cost);
        }
    }

    #[inline(always)]
    fn standing(&self, state: &State, now: Timestamp) -> Standing {
        self.standing_at(self.at(*state, now), now)
    }

    fn scale(&self, from: &Self, state: &mut State) {
        state.used = number::scale_ceil(state.used, self.limit.get(), from.limit);
    }

    /// Nobody knows when in its window a permit was spent, so all of them count in the new one.
    fn adopt(&self, _: &Self, state: &mut State, now: Timestamp) {
        if self.align == Align::Epoch || self.window() <= now - state.start {
            state.start = self.start(now);
        }
    }
}

impl Counted for Quota {
    /// The state as `now` finds it: an old window's count is gone, and a window in which nothing
    /// is spent has yet to begin.
    fn at(&self, state: State, now: Timestamp) -> State {
        let counts = 0 < state.used && now - state.start < self.window();
        if counts { state } else { self.fresh(now) }
    }

    #[inline(always)]
    fn standing_at(&self, state: State, now: Timestamp) -> Standing {
        Standing {
            limit: self.limit.get(),
            remaining: self.limit.get().saturating_sub(state.used),
            reset_after: if state.used == 0 { Micros::ZERO } else { self.left_of(state, now) },
            detail: Detail::FixedWindow { window_start: state.start, used: state.used },
        }
    }
}
