//! Sliding window counter: an estimate of the last window from two counters.
//!
//! Windows are aligned to the epoch. The previous window's count is taken to be spread evenly, so
//! it weighs as much as the part of it that the last `window` still overlaps:
//!
//! ```text
//! previous · (window − elapsed) / window + current + cost ≤ limit
//! ```
//!
//! Both sides are multiplied out, so nothing is rounded. Memory is constant; the price is that
//! the estimate, not the true count, is at most `limit`: over any stretch of length `window` up to
//! `2 · limit − 1` permits can be admitted.

use alloc::{vec, vec::Vec};
use core::{num::NonZeroU64, time::Duration};

use crate::{
    CarryOver, ConfigError, Cost, Fraction, LIMIT_MAX, Micros, Outcome, Receipt, Timestamp,
    WINDOW_MAX,
    algorithm::definition::{Definition, Leasing, Size},
    decision::Standing,
    number::{
        self,
        division::{Share, scale_ceil},
        encoding::Reader,
        tick::Tick,
    },
    state::key_state::KeyState,
    time::EXACT_MAX,
};

/// An estimated `limit` permits per window.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quota {
    limit: NonZeroU64,
    window: NonZeroU64,
    tick: Tick,
    /// The window in ticks, rounded up.
    ticks: NonZeroU64,
}

/// The state of a key: the window that was last charged, its count, and the one before.
///
/// Counts that are carried over may be far above the limit. Their weight then is, too, and a product
/// that saturates says as much.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct State {
    start: Timestamp,
    previous: u64,
    current: u64,
}

/// The numbers that a sliding window counter decided by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Detail {
    /// Permits spent in the window before the current one.
    pub previous: u64,
    /// Permits spent in the current window.
    pub current: u64,
    /// The share of `previous` that still counts.
    pub weight: Fraction,
}

impl Quota {
    /// An estimated `limit` permits per `window`.
    ///
    /// If `limit` times `window` in microseconds passes 2^52, the weight of the previous
    /// window falls in coarser steps, always a little late.
    ///
    /// # Errors
    ///
    /// If either is zero or beyond [`LIMIT_MAX`](crate::LIMIT_MAX),
    /// [`WINDOW_MAX`](crate::WINDOW_MAX).
    pub fn new(limit: u64, window: Duration) -> Result<Self, ConfigError> {
        let limit = number::limit("limit", limit)?;
        let window = number::window("window", window)?;
        let (tick, ticks) = Tick::fit(window, limit);
        Ok(Self { limit, window, tick, ticks })
    }

    /// The state as `now` finds it: rolled into the present window, if that is another one.
    #[inline(always)]
    fn at(&self, state: State, now: Timestamp) -> State {
        if now - state.start < self.length() {
            return state;
        }
        let start = now.floor(self.window);
        let is_next = start - state.start == self.length();
        State { start, previous: if is_next { state.current } else { 0 }, current: 0 }
    }

    const fn length(&self) -> Micros {
        Micros::new(self.window.get())
    }

    /// The ticks of the previous window that still count; at least one.
    fn weight(&self, start: Timestamp, now: Timestamp) -> u64 {
        self.ticks.get().saturating_sub(self.tick.whole(now - start))
    }

    /// The instant at which `count` permits of a window that ends at `end` weigh no more than
    /// `room`.
    fn fades(&self, count: u64, room: u64, end: Timestamp) -> Timestamp {
        let Some(count) = NonZeroU64::new(count) else { return end };
        let weight = room.saturating_mul(self.ticks.get()) / count;
        let elapsed = self.tick.length(self.ticks.get().saturating_sub(weight));
        end + elapsed.min(self.length())
    }

    /// Permits that the previous window still takes, rounded up.
    #[inline]
    fn carried(&self, state: State, now: Timestamp) -> u64 {
        state.previous.saturating_mul(self.weight(state.start, now)).div_ceil(self.ticks.get())
    }
}

impl Definition for Quota {
    type State = State;
    type Detail = Detail;

    const NAME: &'static str = "sliding window counter";
    const KIND: u8 = 3;

    /// Permits of one window count, less and less, in the next one as well, beyond this time.
    fn size(&self) -> Size {
        Size::per_window(self.limit, self.window)
    }

    fn numbers(&self) -> Vec<u64> {
        vec![self.limit.get(), self.window.get()]
    }

    fn read(input: &mut Reader<'_>) -> Option<Self> {
        let [limit, window] = input.numbers()?;
        Self::new(limit, Duration::from_micros(window)).ok()
    }

    fn terms(&self, _: Timestamp) -> Vec<(&'static str, u64)> {
        vec![
            ("limit", self.limit.get()),
            ("window", self.window.get()),
            ("tick", self.tick.micros().get()),
            ("ticks", self.ticks.get()),
        ]
    }

    fn read_state(&self, input: &mut Reader<'_>) -> Option<State> {
        let (start, [previous, current]) = (input.timestamp()?, input.numbers()?);
        let is_fit = previous.max(current) <= EXACT_MAX && start.floor(self.window) == start;
        is_fit.then_some(State { start, previous, current })
    }

    /// As much as the estimate lets through in the time of a lease may be used on top.
    fn leasing(&self, length: Micros) -> Option<Leasing> {
        let excess_max = scale_ceil(self.limit.get(), length.as_micros(), self.window);
        Some(Leasing { excess_max, ends_with_window: false })
    }

    /// A permit counts for as long again as it may be held.
    fn for_leases(&self, length: Micros) -> Result<Self, ConfigError> {
        Self::new(self.limit.get(), (self.length() + length).into())
    }

    fn fresh(&self, now: Timestamp) -> State {
        State { start: now.floor(self.window), previous: 0, current: 0 }
    }

    /// Both counts fall into the window that holds `now`, and close it at most: nobody knows how
    /// much of the previous one still weighed.
    #[inline(always)]
    fn rewind(&self, state: &mut State, now: Timestamp) {
        if now < state.start {
            let both = state.current.saturating_add(state.previous).min(self.limit.get());
            *state = State { current: state.current.max(both), ..self.fresh(now) };
        }
    }

    #[inline(always)]
    fn found(&self, state: &State, now: Timestamp) -> Option<State> {
        Some(self.at(*state, now))
    }

    #[inline(always)]
    fn outcome(&self, state: &State, now: Timestamp, cost: Cost) -> Outcome {
        let spent = state.current.saturating_add(cost.get());
        let room = self.limit.get().checked_sub(spent);
        let carried = state.previous.saturating_mul(self.weight(state.start, now));
        if room.is_some_and(|room| carried <= room.saturating_mul(self.ticks.get())) {
            return Outcome::ALLOW;
        }
        let end = state.start + self.length();
        let in_this_window = match room {
            Some(room) => self.fades(state.previous, room, state.start),
            None => end,
        };
        let fits = if in_this_window < end {
            in_this_window
        } else {
            self.fades(state.current, self.limit.get().saturating_sub(cost.get()), end)
        };
        Outcome::Deny { retry_after: fits - now }
    }

    #[inline(always)]
    fn charge(&self, state: &mut State, _: Timestamp, cost: Cost) {
        state.current = state.current.saturating_add(cost.get());
    }

    fn refund(&self, state: &mut State, now: Timestamp, cost: Cost) {
        *state = self.at(*state, now);
        state.current = state.current.saturating_sub(cost.get());
    }

    /// The charge counts in the window that it was made in.
    fn settle(&self, state: &mut State, now: Timestamp, cost: Cost, receipt: Receipt) {
        *state = self.at(*state, now);
        let count = match state.start - receipt.at {
            Micros::ZERO => &mut state.current,
            gap if gap <= self.length() => &mut state.previous,
            _ => return,
        };
        *count = count.saturating_sub(cost.get());
    }

    fn debt_max(&self) -> u64 {
        let windows = WINDOW_MAX.as_micros() / self.window;
        windows.saturating_mul(self.limit.get()).min(LIMIT_MAX)
    }

    /// Each window pays back up to a limit as the one before weighs less and less.
    fn repay(&self, state: &State, owed: Cost) -> Option<(Timestamp, State)> {
        let limit = self.limit.get();
        let room = limit.saturating_sub(state.current);
        let Some(before) = owed.get().checked_sub(room.saturating_add(1)) else {
            let current = state.current.saturating_add(owed.get());
            let at = self.fades(state.previous, limit.saturating_sub(current), state.start);
            return Some((at, State { current, ..*state }));
        };
        let (windows, current) = (before / self.limit, (before % self.limit).saturating_add(1));
        let previous = if windows == 0 { state.current.max(limit) } else { limit };
        let length = self.window.get().saturating_mul(windows.saturating_add(1));
        let start = state.start + Micros::new(length);
        let at = self.fades(previous, limit.saturating_sub(current), start);
        Some((at, State { start, previous, current }))
    }

    #[inline(always)]
    fn standing(&self, state: &State, now: Timestamp) -> Standing {
        let state = *state;
        let spent = state.current.saturating_add(self.carried(state, now));
        let end = state.start + self.length();
        let as_new = match state {
            State { previous: 0, current: 0, .. } => now,
            State { current: 0, .. } => end,
            _ => end + self.length(),
        };
        Standing {
            limit: self.limit.get(),
            remaining: self.limit.get().saturating_sub(spent),
            reset_after: as_new - now,
            seen: [state.previous, state.current],
        }
    }

    /// Under another window all that still weighs counts in the present one, rounded up once.
    fn carry(&self, from: &Self, state: &mut State, rule: CarryOver, now: Timestamp) {
        let State { start, previous, current } = from.at(*state, now);
        let share = match rule {
            CarryOver::Proportional => Share { of: from.limit, is: self.limit },
            _ => Share::WHOLE,
        };
        *state = if from.window == self.window {
            State { start, previous: share.ceil(previous, 1), current: share.ceil(current, 1) }
        } else {
            let weight = |count: u64, ticks: u64| u128::from(count).saturating_mul(ticks.into());
            let spent = weight(previous, from.weight(start, now))
                .saturating_add(weight(current, from.ticks.get()));
            State { current: share.ceil(spent, from.ticks.get()), ..self.fresh(now) }
        };
    }

    /// The previous window weighs less than the present one: what one state has more in the present
    /// window makes up for as much that it has less in the previous one.
    fn join(&self, state: &mut State, other: &State, now: Timestamp) {
        let (one, other) = (self.at(*state, now), self.at(*other, now));
        let current = one.current.max(other.current);
        let previous = |of: State| of.previous.saturating_sub(current.saturating_sub(of.current));
        *state = State { start: one.start, previous: previous(one).max(previous(other)), current };
    }

    fn detail(&self, [previous, current]: [u64; 2], at: Timestamp) -> Detail {
        let weight = self.weight(at.floor(self.window), at);
        let weight = Fraction { numerator: weight, denominator: self.ticks };
        Detail { previous, current, weight }
    }
}

impl KeyState for State {
    #[inline(always)]
    fn compact(&self) -> Option<[u64; 3]> {
        Some([self.start.as_micros(), self.previous, self.current])
    }

    #[inline(always)]
    fn expand([start, previous, current]: [u64; 3]) -> Option<Self> {
        Some(Self { start: Timestamp::from_word(start), previous, current })
    }
}
