//! A calendar: the instants at which windows begin, as data.
//!
//! Days, months and years differ in length, and the rules of time zones, which change, decide when
//! they begin. The core is given the boundaries as data, and looks them up.

use alloc::{sync::Arc, vec::Vec};
use core::num::NonZeroU64;

use crate::{ConfigError, Fraction, Micros, Timestamp, number::hash, time::EXACT_MAX};

/// Windows between given instants. Cheap to clone.
///
/// The time before the first boundary is one window, and so is the time from the last one on: so every
/// instant is in a window, and a step never fails. Give boundaries for longer than they will be
/// needed.
///
/// Two calendars of one name are equal, even if one of them has boundaries that the other lacks: a
/// policy whose calendar was renewed is the same policy, and keys keep what they have spent.
///
/// It takes 16 bytes for each run of windows of one length. Looking a window up takes O(log n).
#[derive(Clone, Debug)]
pub struct Calendar(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// A hash of the name.
    id: u64,
    /// The earliest first; the last one has no end.
    runs: Vec<Run>,
    /// The number of windows between two boundaries.
    windows: u64,
}

/// Windows of one length, from `start` to the start of the next run.
#[derive(Clone, Copy, Debug)]
struct Run {
    start: Timestamp,
    length: NonZeroU64,
}

/// A window `[start, start + length)`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Window {
    pub(crate) start: Timestamp,
    pub(crate) length: Micros,
}

impl Calendar {
    /// The calendar called `name`, whose windows begin at `boundaries`, the earliest first.
    ///
    /// The name stands for all of its boundaries, past and future. Give two calendars one name only if
    /// one of them merely goes on where the other ends.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NotAscending`] if a boundary is not later than the one before.
    pub fn new(
        name: &str,
        boundaries: impl IntoIterator<Item = Timestamp>,
    ) -> Result<Self, ConfigError> {
        let mut boundaries = boundaries.into_iter();
        let (mut runs, mut windows, mut length_of_run) = (Vec::new(), 0_u64, None);
        let Some(mut start) = boundaries.next() else { return Ok(Self::unknown(id(name))) };
        for end in boundaries {
            let length = NonZeroU64::new((end - start).as_micros());
            let length = length.ok_or(ConfigError::NotAscending { field: "boundaries" })?;
            if length_of_run.replace(length) != Some(length) {
                runs.push(Run { start, length });
            }
            (start, windows) = (end, windows.saturating_add(1));
        }
        runs.push(Run { start, length: ENDLESS });
        Ok(Self(Arc::new(Inner { id: id(name), runs, windows })))
    }

    /// The calendar of an [`id`](Self::id) without its boundaries, as a store finds it: all of time is
    /// one window.
    pub(crate) fn unknown(id: u64) -> Self {
        Self(Arc::new(Inner { id, runs: Vec::new(), windows: 0 }))
    }

    /// Returns true if there are no boundaries.
    pub(crate) fn is_unknown(&self) -> bool {
        self.0.runs.is_empty()
    }

    /// The number that stands for the name in a store.
    pub(crate) fn id(&self) -> u64 {
        self.0.id
    }

    /// The window that `now` is in.
    pub(crate) fn window(&self, now: Timestamp) -> Window {
        let runs = &*self.0.runs;
        let next = runs.partition_point(|run| run.start <= now);
        let Some(Run { start, length }) = next.checked_sub(1).and_then(|index| runs.get(index))
        else {
            let end = runs.first().map_or(Timestamp::MAX, |run| run.start);
            return Window { start: Timestamp::EPOCH, length: end - Timestamp::EPOCH };
        };
        let since = (now - *start).as_micros();
        let start = now - Micros::new(since % *length);
        Window { start, length: Micros::new(length.get()) }
    }

    /// The window `count` windows after the one around `now`; `None` if there are no boundaries.
    pub(crate) fn window_after(&self, now: Timestamp, mut count: u64) -> Option<Window> {
        let runs = &*self.0.runs;
        let mut window = self.window(now);
        for run in runs.get(runs.partition_point(|run| run.start <= now)..)? {
            let time = (run.start - window.start).as_micros();
            let windows = time.checked_div(window.length.as_micros()).unwrap_or(1);
            if count < windows {
                break;
            }
            count = count.saturating_sub(windows);
            window = Window { start: run.start, length: Micros::new(run.length.get()) };
        }
        let time = window.length.as_micros().saturating_mul(count);
        let start = (window.start + Micros::new(time)).min(Timestamp::MAX);
        (!runs.is_empty()).then_some(Window { start, ..window })
    }

    /// The length of the longest window between two boundaries; `None` if there is none.
    pub(crate) fn longest(&self) -> Option<NonZeroU64> {
        let (_, runs) = self.0.runs.split_last()?;
        runs.iter().map(|run| run.length).max()
    }

    /// Windows per microsecond, on average; one window in all of time, if there are no boundaries.
    pub(crate) fn rate(&self) -> Fraction {
        let [first, .., last] = &*self.0.runs else {
            return Fraction { numerator: 1, denominator: ENDLESS };
        };
        let span = NonZeroU64::new((last.start - first.start).as_micros());
        Fraction { numerator: self.0.windows, denominator: span.unwrap_or(ENDLESS) }
    }
}

/// No time is that late.
const ENDLESS: NonZeroU64 = NonZeroU64::new(EXACT_MAX).unwrap();

/// Small enough for every store.
fn id(name: &str) -> u64 {
    hash(name.bytes()) & EXACT_MAX
}

/// By name.
impl PartialEq for Calendar {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for Calendar {}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Timestamp {
        Timestamp::from_micros(micros).unwrap()
    }

    fn calendar(boundaries: &[u64]) -> Calendar {
        Calendar::new("test", boundaries.iter().copied().map(at)).unwrap()
    }

    #[test]
    fn windows_are_counted_from_any_instant() {
        let calendar = calendar(&[10, 20, 30, 35, 45]);
        let starts = [0, 10, 20, 30, 35, 45];
        for now in 0..60 {
            let index = starts.partition_point(|start| *start <= now) - 1;
            for count in 0..6 {
                let window = calendar.window_after(at(now), count as u64).unwrap();
                let wanted = starts.get(index + count).copied();
                let wanted = wanted.map_or(Timestamp::MAX, at);
                assert_eq!(window.start, wanted, "{count} after {now}");
                assert!(wanted == Timestamp::MAX || window == calendar.window(wanted));
            }
        }
        assert_eq!(calendar.longest().map(NonZeroU64::get), Some(10));
        let unknown = Calendar::unknown(1);
        assert_eq!((unknown.window_after(at(5), 1), unknown.longest()), (None, None));
    }

    #[test]
    fn every_instant_is_in_a_window() {
        let calendar = calendar(&[10, 20, 30, 35, 45]);
        let windows = [
            (0, 0, 10),
            (9, 0, 10),
            (10, 10, 10),
            (19, 10, 10),
            (20, 20, 10),
            (30, 30, 5),
            (34, 30, 5),
            (35, 35, 10),
            (44, 35, 10),
            (45, 45, EXACT_MAX),
            (EXACT_MAX, 45, EXACT_MAX),
        ];
        for (now, start, length) in windows {
            let window = Window { start: at(start), length: Micros::new(length) };
            assert_eq!(calendar.window(at(now)), window, "{now}");
        }
        let rate = calendar.rate();
        assert_eq!((rate.numerator, rate.denominator.get()), (4, 35));
    }

    #[test]
    fn windows_of_one_length_take_the_room_of_one() {
        let boundaries: Vec<_> = (0..10_000).map(|day| day * 86_400).collect();
        assert_eq!(calendar(&boundaries).0.runs.len(), 2);
    }

    #[test]
    fn without_boundaries_all_time_is_one_window() {
        let all = Window { start: Timestamp::EPOCH, length: Micros::MAX };
        assert_eq!(calendar(&[]).window(at(17)), all);
        assert_eq!(Calendar::unknown(1).window(Timestamp::MAX), all);
    }

    #[test]
    fn boundaries_ascend() {
        for boundaries in [[5, 5], [5, 4]] {
            let refused = Calendar::new("test", boundaries.map(at)).unwrap_err();
            assert_eq!(refused, ConfigError::NotAscending { field: "boundaries" });
        }
    }

    #[test]
    fn a_calendar_is_its_name() {
        assert_eq!(calendar(&[1, 2]), calendar(&[1, 2, 3]));
        assert_ne!(calendar(&[1, 2]), Calendar::new("other", [at(1), at(2)]).unwrap());
    }
}
