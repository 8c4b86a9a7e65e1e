//! Fixed window: at most `limit` permits in each window `[start, start + window)`.
//!
//! Time is cut into windows of equal length, aligned to the Unix epoch (so that all keys and all
//! hosts turn over together) or to the key's first request. One counter is kept per key, and
//! forgotten when its window is over. It is the cheapest of the six to explain, and lets a caller
//! spend one limit at the end of a window and another at the start of the next.

use alloc::{vec, vec::Vec};
use core::{num::NonZeroU64, time::Duration};

use crate::{
    CarryOver, ConfigError, Cost, Micros, Outcome, Receipt, Timestamp,
    algorithm::definition::{Definition, Size},
    decision::Standing,
    number::{self, division::scale_ceil, encoding::Reader},
    state::key_state::KeyState,
    time::EXACT_MAX,
};

/// At most `limit` permits per window.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quota {
    limit: NonZeroU64,
    window: NonZeroU64,
    align: Align,
}

/// The instants at which windows begin.
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

/// The state of a key: the window that was last charged, and its count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct State {
    start: Timestamp,
    used: u64,
}

/// The numbers that a fixed window decided by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Detail {
    /// The start of the window that counts now.
    pub window_start: Timestamp,
    /// Permits spent in it.
    pub used: u64,
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

    const fn length(&self) -> Micros {
        Micros::new(self.window.get())
    }

    /// The start of a window that begins because of a request at `now`.
    fn start(&self, now: Timestamp) -> Timestamp {
        match self.align {
            Align::Epoch => now.floor(self.window),
            Align::First => now,
        }
    }

    /// The state as `now` finds it: an old window's count is gone, and a window in which nothing
    /// is spent has yet to begin.
    fn at(&self, state: State, now: Timestamp) -> State {
        let counts = 0 < state.used && now - state.start < self.length();
        if counts { state } else { self.fresh(now) }
    }

    fn left_of(&self, state: State, now: Timestamp) -> Micros {
        self.length() - (now - state.start)
    }
}

impl Definition for Quota {
    type State = State;
    type Detail = Detail;

    const NAME: &'static str = "fixed window";
    const KIND: u8 = 1;

    fn size(&self) -> Size {
        Size::per_window(self.limit, self.window)
    }

    fn numbers(&self) -> Vec<u64> {
        vec![self.limit.get(), self.window.get(), self.align as u64]
    }

    fn read(input: &mut Reader<'_>) -> Option<Self> {
        let [limit, window, align] = input.numbers()?;
        let align = match align {
            0 => Align::Epoch,
            1 => Align::First,
            _ => return None,
        };
        Self::new(limit, Duration::from_micros(window), align).ok()
    }

    fn terms(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("limit", self.limit.get()),
            ("window", self.window.get()),
            ("begins_at_first", self.align as u64),
        ]
    }

    fn read_state(&self, input: &mut Reader<'_>) -> Option<State> {
        let (start, used) = (input.timestamp()?, input.number()?);
        (used <= EXACT_MAX).then_some(State { start, used })
    }

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
    fn found(&self, state: &State, now: Timestamp) -> Option<State> {
        Some(self.at(*state, now))
    }

    #[inline(always)]
    fn outcome(&self, state: &State, now: Timestamp, cost: Cost) -> Outcome {
        if self.limit.get() < state.used.saturating_add(cost.get()) {
            return Outcome::Deny { retry_after: self.left_of(*state, now) };
        }
        Outcome::ALLOW
    }

    #[inline(always)]
    fn charge(&self, state: &mut State, _: Timestamp, cost: Cost) {
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
        let State { start, used } = *state;
        Standing {
            limit: self.limit.get(),
            remaining: self.limit.get().saturating_sub(used),
            reset_after: if used == 0 { Micros::ZERO } else { self.left_of(*state, now) },
            seen: [used, start.as_micros()],
        }
    }

    /// Nobody knows when in its window a permit was spent, so all of them count in the new one.
    fn carry(&self, from: &Self, state: &mut State, rule: CarryOver, now: Timestamp) {
        if rule == CarryOver::Proportional {
            state.used = scale_ceil(state.used, self.limit.get(), from.limit);
        }
        if self.align == Align::Epoch || self.length() <= now - state.start {
            state.start = self.start(now);
        }
    }

    fn join(&self, state: &mut State, other: &State, now: Timestamp) {
        let (one, other) = (self.at(*state, now), self.at(*other, now));
        let start = match (one.used, other.used) {
            (0, _) => other.start,
            (_, 0) => one.start,
            _ => one.start.max(other.start),
        };
        *state = State { start, used: one.used.max(other.used) };
    }

    fn detail(&self, [used, start]: [u64; 2], _: Timestamp) -> Detail {
        Detail { window_start: Timestamp::from_word(start), used }
    }
}

impl KeyState for State {
    fn words(&self) -> Vec<u64> {
        vec![self.start.as_micros(), self.used]
    }

    #[inline(always)]
    fn compact(&self) -> Option<[u64; 3]> {
        Some([self.start.as_micros(), self.used, 0])
    }

    #[inline(always)]
    fn expand([start, used, _]: [u64; 3]) -> Option<Self> {
        Some(Self { start: Timestamp::from_word(start), used })
    }
}
