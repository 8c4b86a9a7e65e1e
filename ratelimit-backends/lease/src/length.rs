//! The length of leases: a share of a limit's period, or a time.

use std::time::Duration;

use ratelimit_core::{ConfigError, Micros, Policy};

/// The length of leases.
///
/// Longer leases mean fewer calls of the store, and more permits that all holders together may
/// admit above the limit: at most the share ε of it, if the burst equals the limit of one period.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LeaseLength(Length);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Length {
    /// A share of the period, in parts per million.
    Share(u64),
    Time(Micros),
}

impl LeaseLength {
    /// No leases: every call goes to the store.
    pub const NONE: Self = Self(Length::Time(Micros::ZERO));

    /// A share of each limit's period, from 0 (no leases) to 1, rounded to the nearest millionth.
    ///
    /// The period is the [window](Policy::window): the time in which a key that has spent everything is
    /// whole again. Of windows of a calendar it is their average length.
    ///
    /// ```
    /// use ratelimit_lease::LeaseLength;
    ///
    /// # fn main() -> Result<(), ratelimit_core::ConfigError> {
    /// // Under 10 000 a minute: leases of 600 ms, and 100 permits above the limit at most.
    /// let one_percent = LeaseLength::share(0.01)?;
    /// # let _ = one_percent;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::NotFinite`] for NaN and infinities, [`ConfigError::OutOfRange`] for other numbers.
    pub fn share(share: f64) -> Result<Self, ConfigError> {
        let field = "share";
        if !share.is_finite() {
            return Err(ConfigError::NotFinite { field });
        }
        if !(0.0..=1.0).contains(&share) {
            return Err(ConfigError::OutOfRange { field, low: 0.0, high: 1.0 });
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to a million"
        )]
        let parts = (share * 1e6 + 0.5) as u64;
        Ok(Self(Length::Share(parts)))
    }

    /// The same length for all limits, but no longer than a limit's window. Rounded down to whole
    /// microseconds.
    ///
    /// Under a limit of rate r all holders together admit ⌈r · `length`⌉ permits above it at most, whatever
    /// its burst.
    #[must_use]
    pub const fn time(length: Duration) -> Self {
        Self(Length::Time(Micros::from_duration_floor(length)))
    }

    /// Returns true if there are no leases.
    pub(crate) const fn is_none(self) -> bool {
        matches!(self.0, Length::Share(0) | Length::Time(Micros::ZERO))
    }

    /// The length of leases under `policy`, rounded down.
    pub(crate) fn under(self, policy: &Policy) -> Micros {
        match self.0 {
            Length::Time(length) => length,
            Length::Share(parts) => {
                let period = policy.window().unwrap_or_else(|| average_window(policy));
                let micros = u128::from(period.as_micros()) * u128::from(parts) / MILLION;
                Micros::new(u64::try_from(micros).unwrap_or(u64::MAX))
            }
        }
    }
}

/// The time in which the limit comes back in the long run, rounded down.
fn average_window(policy: &Policy) -> Micros {
    let rate = policy.rate();
    let limit = u128::from(policy.limit()) * u128::from(rate.denominator.get());
    let micros = limit.checked_div(u128::from(rate.numerator)).unwrap_or(0);
    Micros::new(u64::try_from(micros).unwrap_or(u64::MAX))
}

const MILLION: u128 = 1_000_000;
