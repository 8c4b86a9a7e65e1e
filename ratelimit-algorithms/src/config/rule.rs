//! A limit in a configuration: `"100/60s"`, or a table of all the numbers.

use std::{fmt, str::FromStr, time::Duration};

use ratelimit_core::{Algorithm, Policy, adaptive::Scope, fixed_window::Align};
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::notation::{self, NotationError};
#[cfg(feature = "calendar")]
use crate::CalendarWindow;
use crate::{
    Adaptive, ConfigError, FixedWindow, InFlight, LeakyBucket, Nothing, SlidingWindowCounter,
    SlidingWindowLog, TokenBucket, Unlimited,
};

/// An algorithm with its numbers, as a field of your own configuration.
///
/// The short form is a text:
///
/// | text | limit |
/// |---|---|
/// | `"100/60s"` | a [`TokenBucket`] |
/// | `"1000/month from 15 Europe/Berlin"` | a [`CalendarWindow`](crate::CalendarWindow), with the feature `calendar` |
/// | `"4 in flight"`, `"4 in flight for 30s"` | an [`InFlight`] |
/// | `"0"` | [`Nothing`] |
/// | `"unlimited"`, `"unlimited/1h"`, `"unlimited/month"` | [`Unlimited`], counted by the day, the hour, the month |
///
/// The long form is a table of `limit` and `window`,
/// with an optional `algorithm` and its options, which are named as the methods of [`TokenBucket`]
/// and the other builders:
///
/// | `algorithm` | options |
/// |---|---|
/// | `token_bucket` (the default) | `burst`, `refill_rate`, `initial` |
/// | `leaky_bucket` | `capacity`, `leak_rate`, `queue` |
/// | `fixed_window` | `align` (`epoch`, `first`); its `window` may be one of a calendar, as in `"month from 15 Europe/Berlin"`, and then has no `align` |
/// | `sliding_window_log` | `entries_max` |
/// | `sliding_window_counter` | |
/// | `in_flight` | `held_at_most`, and no `window` |
/// | `adaptive` | `burst_multiplier`, `adaptive_window`, `high_load_threshold`, `low_load_threshold`, `penalty`, `scope` (`per_key`, `shared`) |
///
/// `debt_max` is the most permits that a key may owe, see [`Policy::with_debt_max`], which names
/// the limits that allow it. Make such a rule a [`policy`](Self::policy), or take it from a
/// [`LimitsFile`](crate::LimitsFile).
///
/// Lengths always have units: `60s`, `1m30s`, `250ms`. Other fields and invalid numbers are
/// refused.
///
/// ```
/// use ratelimit_algorithms::{Limiter, Rule};
/// use ratelimit_memory::Memory;
///
/// #[derive(serde::Deserialize)]
/// struct Settings {
///     api: Rule,
///     login: Rule,
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let settings: Settings = serde_json::from_str(
///     r#"{
///         "api": "100/60s",
///         "login": { "algorithm": "fixed_window", "limit": 5, "window": "1m" }
///     }"#,
/// )?;
/// let store = Memory::new();
/// let api = Limiter::new(store.clone(), "api", settings.api)?;
/// let login = Limiter::new(store, "login", settings.login)?;
/// assert_eq!(api.check("user:42").now()?.limit, 100);
/// assert_eq!(login.check("user:42").now()?.limit, 5);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rule {
    algorithm: Algorithm,
    debt_max: u64,
}

impl Rule {
    /// The policy of these numbers, called `name`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::BadName`] for a bad name; if keys may not owe as many permits as the rule says.
    pub fn policy(self, name: &str) -> Result<Policy, ConfigError> {
        Policy::new(name, self.algorithm)?.with_debt_max(self.debt_max)
    }
}

/// Refuses a rule with a `debt_max`, which is a policy's: see [`Rule::policy`].
impl TryFrom<Rule> for Algorithm {
    type Error = ConfigError;

    fn try_from(rule: Rule) -> Result<Self, ConfigError> {
        match rule.debt_max {
            0 => Ok(rule.algorithm),
            _ => Err(ConfigError::OfPolicy { field: "debt_max" }),
        }
    }
}

/// Reads the short form.
impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let window = text.strip_prefix(notation::UNLIMITED);
        let algorithm = match (text, window.and_then(|rest| rest.strip_prefix('/'))) {
            ("0", _) => Ok(Nothing.into()),
            (notation::UNLIMITED, _) => Unlimited::per_day().try_into(),
            #[cfg(feature = "calendar")]
            _ if notation::is_calendar(text) => text.parse::<CalendarWindow>()?.try_into(),
            _ if text.contains(notation::IN_FLIGHT) => text.parse::<InFlight>()?.try_into(),
            (_, Some(window)) => Unlimited::per(notation::length(window)?).try_into(),
            _ => text.parse::<TokenBucket>()?.try_into(),
        };
        Ok(Self { algorithm: algorithm?, debt_max: 0 })
    }
}

/// A text that is no [`Rule`].
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// The text is of no form that there is.
    #[error(transparent)]
    Notation(#[from] NotationError),
    /// The numbers are invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Rule;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a limit as in \"100/60s\", or a table")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Rule, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Rule, M::Error> {
                let mut table = Table::deserialize(MapAccessDeserializer::new(map))?;
                if let Some(field) = table.missing() {
                    return Err(M::Error::missing_field(field));
                }
                #[cfg(feature = "calendar")]
                if table.is_calendar() && !matches!(table.algorithm, Kind::FixedWindow) {
                    return Err(M::Error::custom("only a fixed window goes by a calendar"));
                }
                let algorithm = table.algorithm().map_err(M::Error::custom)?;
                match table.left_over() {
                    None => {
                        let rule = Rule { algorithm, debt_max: table.debt_max };
                        rule.clone().policy("rule").map_err(M::Error::custom)?;
                        Ok(rule)
                    }
                    Some(field) => {
                        let algorithm = algorithm.name();
                        Err(M::Error::custom(format_args!("a {algorithm} has no {field}")))
                    }
                }
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// The fields of all algorithms.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default)]
    algorithm: Kind,
    limit: u64,
    window: Option<Window>,
    held_at_most: Option<Length>,
    #[serde(default)]
    debt_max: u64,
    burst: Option<u64>,
    refill_rate: Option<f64>,
    initial: Option<u64>,
    capacity: Option<u64>,
    leak_rate: Option<f64>,
    queue: Option<Length>,
    align: Option<Align>,
    entries_max: Option<u64>,
    burst_multiplier: Option<f64>,
    adaptive_window: Option<Length>,
    high_load_threshold: Option<f64>,
    low_load_threshold: Option<f64>,
    penalty: Option<f64>,
    scope: Option<Scope>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    FixedWindow,
    SlidingWindowLog,
    SlidingWindowCounter,
    #[default]
    TokenBucket,
    LeakyBucket,
    Adaptive,
    InFlight,
}

impl Table {
    /// The name of a field that the algorithm cannot do without, and that is not there.
    const fn missing(&self) -> Option<&'static str> {
        let has_window = self.window.is_some() || matches!(self.algorithm, Kind::InFlight);
        if has_window { None } else { Some("window") }
    }

    #[cfg(feature = "calendar")]
    const fn is_calendar(&self) -> bool {
        matches!(self.window, Some(Window::Calendar(_)))
    }

    /// Takes the fields of the algorithm, and leaves the others.
    fn algorithm(&mut self) -> Result<Algorithm, ConfigError> {
        let is_windowed = !matches!(self.algorithm, Kind::InFlight);
        let limit = self.limit;
        let window = match self.window.take_if(|_| is_windowed) {
            None => Duration::ZERO,
            Some(Window::Length(Length(length))) => length,
            #[cfg(feature = "calendar")]
            Some(Window::Calendar(window)) => return window.with_limit(limit).try_into(),
        };
        match self.algorithm {
            Kind::FixedWindow => FixedWindow::per(limit, window)
                .set(FixedWindow::align, self.align.take())
                .try_into(),
            Kind::SlidingWindowLog => SlidingWindowLog::per(limit, window)
                .set(SlidingWindowLog::entries_max, self.entries_max.take())
                .try_into(),
            Kind::SlidingWindowCounter => SlidingWindowCounter::per(limit, window).try_into(),
            Kind::TokenBucket => TokenBucket::per(limit, window)
                .set(TokenBucket::burst, self.burst.take())
                .set(TokenBucket::refill_rate, self.refill_rate.take())
                .set(TokenBucket::initial, self.initial.take())
                .try_into(),
            Kind::LeakyBucket => LeakyBucket::per(limit, window)
                .set(LeakyBucket::capacity, self.capacity.take())
                .set(LeakyBucket::leak_rate, self.leak_rate.take())
                .set(LeakyBucket::queue, self.queue.take().map(Into::into))
                .try_into(),
            Kind::Adaptive => Adaptive::per(limit, window)
                .set(Adaptive::burst_multiplier, self.burst_multiplier.take())
                .set(Adaptive::adaptive_window, self.adaptive_window.take().map(Into::into))
                .set(Adaptive::high_load_threshold, self.high_load_threshold.take())
                .set(Adaptive::low_load_threshold, self.low_load_threshold.take())
                .set(Adaptive::penalty, self.penalty.take())
                .set(Adaptive::scope, self.scope.take())
                .try_into(),
            Kind::InFlight => InFlight::limit(limit)
                .set(InFlight::held_at_most, self.held_at_most.take().map(Into::into))
                .try_into(),
        }
    }

    /// A field that the algorithm has not taken.
    fn left_over(&self) -> Option<&'static str> {
        let fields = [
            ("window", self.window.is_some()),
            ("held_at_most", self.held_at_most.is_some()),
            ("burst", self.burst.is_some()),
            ("refill_rate", self.refill_rate.is_some()),
            ("initial", self.initial.is_some()),
            ("capacity", self.capacity.is_some()),
            ("leak_rate", self.leak_rate.is_some()),
            ("queue", self.queue.is_some()),
            ("align", self.align.is_some()),
            ("entries_max", self.entries_max.is_some()),
            ("burst_multiplier", self.burst_multiplier.is_some()),
            ("adaptive_window", self.adaptive_window.is_some()),
            ("high_load_threshold", self.high_load_threshold.is_some()),
            ("low_load_threshold", self.low_load_threshold.is_some()),
            ("penalty", self.penalty.is_some()),
            ("scope", self.scope.is_some()),
        ];
        fields.into_iter().find_map(|(name, is_left)| is_left.then_some(name))
    }
}

/// Sets an option of a builder, if there is a value.
trait Set: Sized {
    fn set<T>(self, setter: fn(Self, T) -> Self, value: Option<T>) -> Self {
        match value {
            Some(value) => setter(self, value),
            None => self,
        }
    }
}

impl<A> Set for A {}

/// The time that a limit is for.
enum Window {
    Length(Length),
    #[cfg(feature = "calendar")]
    Calendar(CalendarWindow),
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Window;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length with its unit, as in \"60s\", or a window of a calendar")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Window, E> {
                #[cfg(feature = "calendar")]
                if let unlimited = format!("{}/{text}", notation::UNLIMITED)
                    && notation::is_calendar(&unlimited)
                {
                    return unlimited.parse().map(Window::Calendar).map_err(E::custom);
                }
                notation::length(text).map(Length).map(Window::Length).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// A length of time with its units.
struct Length(Duration);

impl From<Length> for Duration {
    fn from(length: Length) -> Self {
        length.0
    }
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Length;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length with its unit, as in \"60s\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Length, E> {
                notation::length(text).map(Length).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}
