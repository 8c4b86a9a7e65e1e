//! Limits of nothing and of everything.

use std::time::Duration;

use ratelimit_core::{
    Algorithm, ConfigError,
    fixed_window::{self, Align},
};

/// A limit that admits nothing, to switch a feature or a client off.
///
/// Every request is denied, with a `retry_after` of [`Micros::MAX`](crate::Micros::MAX) and without
/// a call of the store, unless other limits of a batch need one. Permits that keys have spent under
/// other numbers stay stored, and count once there is a limit again.
///
/// ```
/// use ratelimit_algorithms::{Limiter, Live, Micros, Nothing, TokenBucket};
/// use ratelimit_memory::Memory;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let limit = Live::new("exports", TokenBucket::per_hour(10))?;
/// let limiter = Limiter::with_policies(Memory::new(), limit.clone())?;
/// limit.update(Nothing)?;
/// let decision = limiter.check("user:42").now()?;
/// assert!(!decision.is_allowed());
/// assert_eq!(decision.retry_after(), Micros::MAX);
/// # Ok(())
/// # }
/// ```
#[must_use]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete by nature")]
pub struct Nothing;

impl From<Nothing> for Algorithm {
    fn from(_: Nothing) -> Self {
        fixed_window::Quota::nothing().into()
    }
}

/// A limit without a bound: permits are counted, and none is denied.
///
/// They are counted in windows, as [`FixedWindow`](crate::FixedWindow) counts them: the decision's
/// [`detail`](crate::Decision::detail) tells how many were spent in this one. Its `limit` and what
/// remains are [`UNLIMITED`](crate::UNLIMITED). Nothing can be kept of it for another algorithm: a bucket
/// that follows it begins as new.
///
/// ```
/// use ratelimit_algorithms::{Detail, Limiter, Unlimited};
/// use ratelimit_memory::Memory;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let limiter = Limiter::new(Memory::new(), "enterprise", Unlimited::per_day())?;
/// let decision = limiter.check("user:42").cost(1_000_000).now()?;
/// assert!(decision.is_allowed());
/// let detail = decision.detail(&limiter.policy("user:42"));
/// assert!(matches!(detail, Some(Detail::FixedWindow(window)) if window.used == 1_000_000));
/// # Ok(())
/// # }
/// ```
#[must_use]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unlimited {
    window: Duration,
}

impl Unlimited {
    /// Counts permits by days of 24 hours, from midnight of UTC.
    pub const fn per_day() -> Self {
        Self::per(Duration::from_secs(86_400))
    }

    /// Counts permits per `window`, at whole multiples of it since the epoch.
    pub const fn per(window: Duration) -> Self {
        Self { window }
    }
}

impl TryFrom<Unlimited> for Algorithm {
    type Error = ConfigError;

    fn try_from(builder: Unlimited) -> Result<Self, ConfigError> {
        Ok(fixed_window::Quota::new(1, builder.window, Align::Epoch)?.unlimited().into())
    }
}
