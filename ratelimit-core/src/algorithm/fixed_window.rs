//! Fixed window: at most `limit` permits in each window `[start, start + length)`.
//!
//! Time is cut into windows: of equal length, aligned to the Unix epoch (so that all keys and all
//! hosts turn over together) or to the key's first request; or between the boundaries of a
//! [`Calendar`]. One counter is kept per key, and forgotten when its window is over. It is the
//! cheapest to explain, and lets a caller spend one limit at the end of a window and
//! another at the start of the next.
//!
//! Two quotas have no limit in between: [`Quota::nothing`] admits no request, [`Quota::unlimited`]
//! every one.

use alloc::{vec, vec::Vec};
use core::{num::NonZeroU64, time::Duration};

use crate::{
    Calendar, CarryOver, ConfigError, Cost, Fraction, LIMIT_MAX, Micros, Outcome, Receipt,
    Timestamp, UNLIMITED, WINDOW_MAX,
    algorithm::definition::{Definition, Leasing, Size},
    calendar::Window,
    decision::Standing,
    number::{self, division::scale_ceil, encoding::Reader},
    state::key_state::KeyState,
    time::EXACT_MAX,
};

/// At most `limit` permits per window.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Quota {
    /// Zero admits nothing, [`UNLIMITED`] everything.
    limit: u64,
    windows: Windows,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Windows {
    /// Of one length, in microseconds.
    Even(NonZeroU64, Align),
    Calendar(Calendar),
}

/// The instants at which windows of one length begin.
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

/// The state of a key: the window that was last charged, and its count. A window keeps its length,
/// so that it can be read without its calendar.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct State {
    window: Window,
    used: u64,
    is_of_calendar: bool,
}

/// The numbers that a fixed window decided by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Detail {
    /// The start of the window that counts now.
    pub window_start: Timestamp,
    /// The end of that window, which is the start of the next.
    pub window_end: Timestamp,
    /// Permits spent in it.
    pub used: u64,
}

impl Quota {
    /// At most `limit` permits in each `window`.
    ///
    /// # Errors
    ///
    /// If either is zero or beyond [`LIMIT_MAX`](crate::LIMIT_MAX), [`WINDOW_MAX`](crate::WINDOW_MAX).
    pub fn new(limit: u64, window: Duration, align: Align) -> Result<Self, ConfigError> {
        let limit = number::limit("limit", limit)?.get();
        Ok(Self { limit, windows: Windows::Even(number::window("window", window)?, align) })
    }

    /// At most `limit` permits in each window of `calendar`.
    ///
    /// # Errors
    ///
    /// If the limit is zero or beyond [`LIMIT_MAX`](crate::LIMIT_MAX).
    pub fn by_calendar(limit: u64, calendar: Calendar) -> Result<Self, ConfigError> {
        let limit = number::limit("limit", limit)?.get();
        Ok(Self { limit, windows: Windows::Calendar(calendar) })
    }

    /// No permits at all. Every request is denied, with a `retry_after` of [`Micros::MAX`], and a
    /// store need not be asked.
    #[must_use]
    pub const fn nothing() -> Self {
        Self { limit: 0, windows: Windows::Even(ENDLESS, Align::First) }
    }

    /// The same windows without a limit: permits are counted, and none is denied.
    #[must_use]
    pub fn unlimited(self) -> Self {
        Self { limit: UNLIMITED, ..self }
    }

    /// The window that begins, or has begun, because of a request at `now`.
    fn window_of(&self, now: Timestamp) -> Window {
        match &self.windows {
            Windows::Even(length, align) => {
                let start = if *align == Align::Epoch { now.floor(*length) } else { now };
                Window { start, length: Micros::new(length.get()) }
            }
            Windows::Calendar(calendar) => calendar.window(now),
        }
    }

    /// The state as `now` finds it: an old window's count is gone, and a window in which nothing
    /// is spent has yet to begin.
    fn at(&self, state: State, now: Timestamp) -> State {
        let counts = 0 < state.used && state.window.is_at(now);
        if counts { state } else { self.fresh(now) }
    }

    const fn is_of_calendar(&self) -> bool {
        matches!(self.windows, Windows::Calendar(_))
    }

    /// Returns true if keys have a share of the limit.
    const fn is_bounded(&self) -> bool {
        0 < self.limit && self.limit < UNLIMITED
    }
}

impl Window {
    fn is_at(&self, now: Timestamp) -> bool {
        now - self.start < self.length
    }

    fn left(&self, now: Timestamp) -> Micros {
        self.length - (now - self.start)
    }
}

/// Longer than all windows.
const ENDLESS: NonZeroU64 = NonZeroU64::new(EXACT_MAX).unwrap();

impl Definition for Quota {
    type State = State;
    type Detail = Detail;

    const NAME: &'static str = "fixed window";
    const KIND: u8 = 1;

    fn size(&self) -> Size {
        let (window, rate) = match &self.windows {
            Windows::Even(length, _) => (
                (*length < ENDLESS).then(|| Micros::new(length.get())),
                Fraction { numerator: self.limit, denominator: *length },
            ),
            Windows::Calendar(calendar) => {
                let Fraction { numerator: windows, denominator } = calendar.rate();
                let numerator = windows.saturating_mul(self.limit);
                (None, Fraction { numerator, denominator })
            }
        };
        Size { limit: self.limit, window, rate }
    }

    fn window_at(&self, now: Timestamp) -> Option<Micros> {
        Some(self.window_of(now).length).filter(|length| length.as_micros() < ENDLESS.get())
    }

    fn numbers(&self) -> Vec<u64> {
        match &self.windows {
            Windows::Even(length, align) => vec![self.limit, length.get(), *align as u64],
            Windows::Calendar(calendar) => vec![self.limit, calendar.id(), CALENDAR],
        }
    }

    fn read(input: &mut Reader<'_>) -> Option<Self> {
        let [limit, window, align] = input.numbers()?;
        let even = |align| Self::new(1, Duration::from_micros(window), align).ok();
        let any = match align {
            0 => even(Align::Epoch)?,
            1 if (limit, window) == (0, EXACT_MAX) => return Some(Self::nothing()),
            1 => even(Align::First)?,
            CALENDAR if window <= EXACT_MAX => {
                Self { limit, windows: Windows::Calendar(Calendar::unknown(window)) }
            }
            _ => return None,
        };
        let is_limit = limit == UNLIMITED || number::limit("limit", limit).is_ok();
        is_limit.then_some(Self { limit, ..any })
    }

    /// Of a calendar, `align` is the start of the window around `now`, and two more: a store that goes
    /// by a clock of its own has to see that its time is in that window.
    fn terms(&self, now: Timestamp) -> Vec<(&'static str, u64)> {
        let Window { start, length } = self.window_of(now);
        let align = match &self.windows {
            Windows::Even(_, align) => *align as u64,
            Windows::Calendar(_) => start.as_micros().saturating_add(CALENDAR),
        };
        vec![("limit", self.limit), ("window", length.as_micros()), ("align", align)]
    }

    fn read_state(&self, input: &mut Reader<'_>) -> Option<State> {
        let (start, used) = (input.timestamp()?, input.number()?);
        let length = match self.windows {
            Windows::Even(length, _) => length.get(),
            Windows::Calendar(_) => input.number().filter(|length| *length <= EXACT_MAX)?,
        };
        let window = Window { start, length: Micros::new(length) };
        let is_of_calendar = self.is_of_calendar();
        (used <= EXACT_MAX).then_some(State { window, used, is_of_calendar })
    }

    /// A permit is used in the window that it was charged in, or not at all.
    fn leasing(&self, _: Micros) -> Option<Leasing> {
        Some(Leasing { excess_max: 0, ends_with_window: true })
    }

    fn for_leases(&self, _: Micros) -> Result<Self, ConfigError> {
        Ok(self.clone())
    }

    fn fresh(&self, now: Timestamp) -> State {
        State { window: self.window_of(now), used: 0, is_of_calendar: self.is_of_calendar() }
    }

    #[inline(always)]
    fn rewind(&self, state: &mut State, now: Timestamp) {
        if now < state.window.start {
            state.window = self.window_of(now);
        }
    }

    /// A window of a calendar keeps its length.
    fn rewind_stored(&self, state: &mut State, now: Timestamp) {
        match self.windows {
            Windows::Even(..) => self.rewind(state, now),
            Windows::Calendar(_) => state.window.start = state.window.start.min(now),
        }
    }

    #[inline(always)]
    fn found(&self, state: &State, now: Timestamp) -> Option<State> {
        Some(self.at(*state, now))
    }

    #[inline(always)]
    fn outcome(&self, state: &State, now: Timestamp, cost: Cost) -> Outcome {
        if self.limit < state.used.saturating_add(cost.get()) && self.limit != UNLIMITED {
            return Outcome::Deny { retry_after: state.window.left(now) };
        }
        Outcome::ALLOW
    }

    #[inline(always)]
    fn charge(&self, state: &mut State, _: Timestamp, cost: Cost) {
        state.used = state.used.saturating_add(cost.get()).min(EXACT_MAX);
    }

    fn refund(&self, state: &mut State, now: Timestamp, cost: Cost) {
        *state = self.at(*state, now);
        state.used = state.used.saturating_sub(cost.get());
    }

    fn settle(&self, state: &mut State, now: Timestamp, cost: Cost, receipt: Receipt) {
        if self.at(*state, now).window.start <= receipt.at {
            self.refund(state, now, cost);
        }
    }

    /// Of a calendar that was read from a store, which lacks its boundaries, as many as of any.
    fn debt_max(&self) -> u64 {
        let length = match &self.windows {
            _ if !self.is_bounded() => None,
            Windows::Even(length, _) => Some(*length),
            Windows::Calendar(calendar) if calendar.is_unknown() => return LIMIT_MAX,
            Windows::Calendar(calendar) => calendar.longest(),
        };
        let windows = length.map_or(0, |length| WINDOW_MAX.as_micros() / length);
        windows.saturating_mul(self.limit).min(LIMIT_MAX)
    }

    /// Each window pays back a limit at its start, the last one the rest.
    fn repay(&self, state: &State, owed: Cost) -> Option<(Timestamp, State)> {
        let (limit, before) = (NonZeroU64::new(self.limit)?, owed.get().saturating_sub(1));
        let (windows, used) = (before / limit, (before % limit).saturating_add(1));
        let (start, windows) = (state.window.start, windows.saturating_add(1));
        let window = match &self.windows {
            Windows::Even(length, _) => {
                let time = Micros::new(length.get().saturating_mul(windows));
                Window { start: start + time, ..state.window }
            }
            Windows::Calendar(calendar) => calendar.window_after(start, windows)?,
        };
        Some((window.start, State { window, used, ..*state }))
    }

    /// Boundaries of a calendar are known only under numbers of the same calendar.
    fn for_debt(&self, to: Option<&Self>) -> Option<Self> {
        match (&self.windows, to.map(|to| &to.windows)) {
            (Windows::Calendar(own), Some(known @ Windows::Calendar(calendar))) => {
                (own == calendar).then(|| Self { windows: known.clone(), ..*self })
            }
            (Windows::Calendar(_), _) => None,
            _ => Some(self.clone()),
        }
    }

    #[inline(always)]
    fn standing(&self, state: &State, now: Timestamp) -> Standing {
        let State { window, used, .. } = *state;
        let remaining = self.limit.saturating_sub(used);
        Standing {
            limit: self.limit,
            remaining: if self.limit == UNLIMITED { UNLIMITED } else { remaining },
            reset_after: if used == 0 { Micros::ZERO } else { window.left(now) },
            seen: [used, window.start.as_micros()],
        }
    }

    /// Nobody knows when in its window a permit was spent, so all of them count in the new one.
    fn carry(&self, from: &Self, state: &mut State, rule: CarryOver, now: Timestamp) {
        if rule == CarryOver::Proportional
            && let Some(limit) = NonZeroU64::new(from.limit)
            && from.is_bounded()
            && self.is_bounded()
        {
            state.used = scale_ceil(state.used, self.limit, limit);
        }
        let found = self.window_of(now);
        let goes_on = matches!(self.windows, Windows::Even(_, Align::First))
            && now - state.window.start < found.length;
        let start = if goes_on { state.window.start } else { found.start };
        state.window = Window { start, ..found };
        state.is_of_calendar = self.is_of_calendar();
    }

    /// Of a calendar, what counts now counts in the window that is now, even if a step back has moved it.
    fn join(&self, state: &mut State, other: &State, now: Timestamp) {
        let (one, other) = (self.at(*state, now), self.at(*other, now));
        let window = match (one.used, other.used) {
            _ if self.is_of_calendar() => self.window_of(now),
            (0, _) => other.window,
            (_, 0) => one.window,
            _ if one.window.start < other.window.start => other.window,
            _ => one.window,
        };
        *state = State { window, used: one.used.max(other.used), ..one };
    }

    fn detail(&self, [used, start]: [u64; 2], _: Timestamp) -> Detail {
        let window_start = Timestamp::from_word(start);
        let window_end = window_start + self.window_of(window_start).length;
        Detail { window_start, window_end, used }
    }
}

/// The length of a window is a word only where the quota does not tell it.
impl KeyState for State {
    fn words(&self) -> Vec<u64> {
        let Self { window: Window { start, length }, used, is_of_calendar } = self;
        let words = [start.as_micros(), *used, length.as_micros()];
        words[..if *is_of_calendar { 3 } else { 2 }].to_vec()
    }

    #[inline(always)]
    fn compact(&self) -> Option<[u64; 3]> {
        let Self { window: Window { start, length }, used, is_of_calendar } = *self;
        Some([start.as_micros(), used, length.as_micros() << 1 | u64::from(is_of_calendar)])
    }

    #[inline(always)]
    fn expand([start, used, length]: [u64; 3]) -> Option<Self> {
        let (start, is_of_calendar) = (Timestamp::from_word(start), length & 1 == 1);
        let window = Window { start, length: Micros::new(length >> 1) };
        Some(Self { window, used, is_of_calendar })
    }
}

/// The number of a calendar where others have that of an [`Align`].
const CALENDAR: u64 = 2;
