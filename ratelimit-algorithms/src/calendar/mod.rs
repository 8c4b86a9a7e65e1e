//! Windows of a calendar: a thousand a month, from the 15th on, in Berlin.

mod boundaries;
mod notation;

use std::borrow::Cow;

use ratelimit_core::{Algorithm, Calendar, ConfigError, fixed_window};

/// A limit for each day, week, month, quarter or year of a place; see [`fixed_window`].
///
/// A day that daylight saving makes an hour shorter or longer is one window, and so are a month of 28
/// days and one of 31.
///
/// ```
/// use ratelimit_algorithms::{CalendarWindow, Limiter, Period};
/// use ratelimit_memory::Memory;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let month = Period::Month { from: 15 };
/// let plan = CalendarWindow::per(1_000, month).in_zone("Europe/Berlin");
/// assert_eq!("1000/month from 15 Europe/Berlin".parse(), Ok(plan.clone()));
///
/// let limiter = Limiter::new(Memory::new(), "plan", plan)?;
/// assert_eq!(limiter.check("user:42").now()?.remaining, 999);
/// # Ok(())
/// # }
/// ```
///
/// The windows of all years up to 2255 are computed when a limiter is built, by the time zone rules
/// of that moment: from the files of the operating system, or, where it has none, from those built
/// into this library. When rules have changed, build the window anew and
/// [update](crate::Live::update) the limit with it, or [reload](crate::LimitsFile::reload) its
/// file. Keys keep what they have spent.
#[must_use]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CalendarWindow {
    /// `None` if permits are only counted.
    limit: Option<u64>,
    period: Period,
    zone: Cow<'static, str>,
}

/// The length of a calendar's windows, and where they begin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Period {
    /// A day.
    Day,
    /// A week.
    Week {
        /// Its first day.
        from: Weekday,
    },
    /// A month.
    Month {
        /// The day on which it begins, 1 to 31; the last one of a month that has no such day.
        from: u8,
    },
    /// Three months.
    Quarter {
        /// The month of the year, 1 to 12, and the day, 1 to 31, on which one of the four begins.
        from: (u8, u8),
    },
    /// A year.
    Year {
        /// The month, 1 to 12, and the day, 1 to 31, on which it begins.
        from: (u8, u8),
    },
}

/// A day of the week.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete by nature")]
#[expect(missing_docs, reason = "days need no words")]
pub enum Weekday {
    #[default]
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

impl CalendarWindow {
    /// `limit` permits per `period`, by the calendar of UTC.
    pub const fn per(limit: u64, period: Period) -> Self {
        Self { limit: Some(limit), period, zone: UTC }
    }

    /// Permits are counted per `period`, and none is denied.
    pub const fn unlimited_per(period: Period) -> Self {
        Self { limit: None, period, zone: UTC }
    }

    /// The time zone, by its name in the IANA database, such as `Europe/Berlin`.
    pub fn in_zone(self, name: impl Into<Cow<'static, str>>) -> Self {
        Self { zone: name.into(), ..self }
    }

    /// The same windows with another limit.
    #[cfg(feature = "serde")]
    pub(crate) fn with_limit(self, limit: u64) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// The calendar of the windows.
    ///
    /// # Errors
    ///
    /// [`ConfigError::UnknownTimeZone`]; [`ConfigError::OutOfRange`] for a day or a month that no year
    /// has.
    pub fn calendar(&self) -> Result<Calendar, ConfigError> {
        boundaries::calendar(self.period, &self.zone)
    }
}

const UTC: Cow<'static, str> = Cow::Borrowed("UTC");

impl TryFrom<CalendarWindow> for Algorithm {
    type Error = ConfigError;

    fn try_from(builder: CalendarWindow) -> Result<Self, ConfigError> {
        let calendar = builder.calendar()?;
        Ok(match builder.limit {
            Some(limit) => fixed_window::Quota::by_calendar(limit, calendar)?.into(),
            None => fixed_window::Quota::by_calendar(1, calendar)?.unlimited().into(),
        })
    }
}
