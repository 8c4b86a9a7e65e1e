//! The terms of leases: permits that a store charges ahead, for a holder who uses them without asking again.
//!
//! [`LeaseTerms`] says by how much all holders together may exceed a limit, and proves it.

use crate::{ConfigError, Decision, Micros, Policy, WINDOW_MAX};

/// The terms of leases under one policy: their length, how much a holder may hold, and by how much all holders
/// together may exceed the limit.
///
/// A holder takes some permits of a key in one call, and admits requests from them for the
/// [length](Self::length) L of the lease. The store keeps no list of holders: a lease is a charge that was made
/// early. Let
///
/// - f(T) be the bound of the limit: no interval of length T has more charges than that;
/// - C(s, t] be the permits that the store charged in the interval, less those that were given back;
/// - U(s, t] be the permits that all holders used in it, which is what they admitted;
/// - H(s) be the permits that all holders held, unused, at s.
///
/// # The theorem
///
/// **U(s, t] ≤ C(s − L, t], and U(s, t] ≤ H(s) + C(s, t].**
///
/// *Proof.* A holder reads its clock before it asks, so the charge comes later, and it uses no permit once
/// L has passed on its clock since. So a permit that is used at a was charged in (a − L, a]. Each permit
/// is used once at most, and one that is given back is put away first, so it was not used at all. Hence
/// the permits used in (s, t] are among those charged in (s − L, t] and not given back, which is the first
/// claim. Those of them that were charged in (s, t] are C(s, t] at most; the others were charged by s and
/// used after s, so they were held at s: that is the second claim. ∎
///
/// A refund by [receipt](crate::Receipt) leaves the store as if the charge had been smaller from the start,
/// so that C(s, t] ≤ f(t − s) also where permits are given back. The clock of a holder may be slow by one
/// part in a thousand, since it stops at L · (1 − 10⁻³).
///
/// # The bounds
///
/// With N holders of at most n permits each ([`held_max`](Self::held_max)), U(s, t] exceeds f(t − s) by at most
/// [`excess_max(N)`](Self::excess_max), and by nothing under the numbers of
/// [`Algorithm::for_leases`](crate::Algorithm::for_leases):
///
/// | limit | exceeded by at most | by nothing with |
/// |---|---|---|
/// | token bucket, leaky bucket as a meter, rate r | min(N · n, ⌈r · L⌉) | capacity − ⌈r · L⌉ |
/// | fixed window | 0 | the same numbers |
/// | sliding window log | min(N · n, limit) | window + L |
/// | sliding window counter, r = limit / window | min(N · n, ⌈r · L⌉), where f(window) = 2 · limit − 1 | window + L |
/// | adaptive, leaky bucket as a queue, permits in flight | refused | |
///
/// N · n is H(s). *Buckets:* f(T) = B + ⌊r · T⌋, so C(s − L, t] ≤ B + ⌊r · (T + L)⌋ ≤ f(T) + ⌈r · L⌉; with a
/// capacity of B − ⌈r · L⌉ that is f(T). *Fixed windows:* a permit lapses with the window that it was
/// charged in, so those used in a window were charged in it. *Logs:* (s − L, s] is no longer than a window W,
/// so it has no more charges than the limit. *Counters:* an interval of length W + L meets three windows at
/// most, with x, y and z charges. The third one's last charge came b ≤ L after its start, and the second
/// one's estimate was y < limit when x > 0, so z ≤ limit − y · (W − b) / W, and x + y + z ≤ 2 · limit +
/// (limit − 1) · L / W < 2 · limit + r · L. *Exact numbers of both:* under a window of W + L an interval of
/// length W + L has no more charges than f allows one of length W.
///
/// The bound holds whatever the number of holders, the traffic, the partitions and the crashes. A holder
/// that loses permits (it crashes, or the reply to a take is lost) admits fewer, never more. Two things are
/// outside of it. A holder that stops between the look at its clock and the use of a permit, for longer than
/// what is left of the lease, uses what it was about to use: at most n permits, once. So does a machine
/// whose monotonic clock stands still while the machine is suspended.
///
/// ```
/// # use core::time::Duration;
/// use ratelimit_core::{LeaseTerms, Micros, Policy, token_bucket::Quota};
///
/// # fn main() -> Result<(), ratelimit_core::ConfigError> {
/// let policy = Policy::new("api", Quota::new(10_000, 10_000, Duration::from_secs(60))?)?;
/// let terms = LeaseTerms::new(&policy, Micros::from_millis(600))?;
/// assert_eq!(terms.excess_max(1_000), 100);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LeaseTerms {
    length: Micros,
    held_max: u64,
    excess_max: u64,
    ends_with_window: bool,
}

impl LeaseTerms {
    /// The terms of leases of `length` under `policy`; of its [window](Policy::window), if that is shorter.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NotLeasable`] if every request has to be seen, or put in order: adaptive limits,
    /// permits in flight, and leaky buckets used as queues. [`ConfigError::WindowTooLong`] if `length` is beyond [`WINDOW_MAX`].
    pub fn new(policy: &Policy, length: Micros) -> Result<Self, ConfigError> {
        if WINDOW_MAX < length {
            return Err(ConfigError::WindowTooLong { field: "lease", max: WINDOW_MAX });
        }
        let algorithm = policy.algorithm();
        let length = policy.window().map_or(length, |window| length.min(window));
        let not_leasable = ConfigError::NotLeasable { algorithm: algorithm.name() };
        let leasing = algorithm.leasing(length).ok_or(not_leasable)?;
        let held_max = if policy.is_bounded() { permits_in(policy, length) } else { 0 };
        let (excess_max, ends_with_window) = (leasing.excess_max, leasing.ends_with_window);
        Ok(Self { length, held_max, excess_max, ends_with_window })
    }

    /// The same terms with at most `permits` held by one holder of one key.
    #[must_use]
    pub fn with_held_max(self, permits: u64) -> Self {
        Self { held_max: self.held_max.min(permits), ..self }
    }

    /// The time for which a permit may be used, counted from before the holder asked for it.
    #[must_use]
    pub const fn length(&self) -> Micros {
        self.length
    }

    /// The most permits that one holder of one key holds: by default those that the limit admits in
    /// the length of a lease, in the long run. Zero where the limit admits nothing, or everything.
    #[must_use]
    pub const fn held_max(&self) -> u64 {
        self.held_max
    }

    /// The most permits by which the use of `holders` holders exceeds the bound of the limit, in any
    /// interval of time.
    #[must_use]
    pub fn excess_max(&self, holders: u64) -> u64 {
        self.excess_max.min(holders.saturating_mul(self.held_max))
    }

    /// The time for which the permits of a take may be used, counted from before it was sent: the
    /// [length](Self::length), or what is left of a fixed window if that is less; less one part in a
    /// thousand, for clocks that differ.
    #[must_use]
    pub fn usable_for(&self, take: &Decision) -> Micros {
        let length =
            if self.ends_with_window { self.length.min(take.reset_after) } else { self.length };
        length - Micros::new(length.as_micros().div_ceil(DRIFT))
    }
}

/// One part in so many by which clocks may differ.
const DRIFT: u64 = 1_000;

/// Permits that come back in `length` in the long run, rounded down.
fn permits_in(policy: &Policy, length: Micros) -> u64 {
    let rate = policy.rate();
    let permits = u128::from(rate.numerator).saturating_mul(u128::from(length.as_micros()));
    let permits = permits.checked_div(u128::from(rate.denominator.get())).unwrap_or(0);
    u64::try_from(permits).unwrap_or(u64::MAX).min(policy.limit())
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::{
        Algorithm, adaptive, fixed_window, in_flight, leaky_bucket, sliding_window_counter,
        sliding_window_log, token_bucket,
    };

    const MINUTE: Duration = Duration::from_secs(60);

    fn terms(algorithm: impl Into<Algorithm>, length: Micros) -> Result<LeaseTerms, ConfigError> {
        LeaseTerms::new(&Policy::new("limit", algorithm.into()).unwrap(), length)
    }

    /// Both bounds of the table, and the numbers under which nothing is exceeded.
    #[test]
    fn the_table_says_what_it_says() {
        let length = Micros::from_millis(1_001);
        let exact = |algorithm: Algorithm| algorithm.for_leases(length);
        let bucket = token_bucket::Quota::new(500, 600, MINUTE).unwrap();
        let leaky = leaky_bucket::Quota::new(500, 600, MINUTE).unwrap();
        let fixed = fixed_window::Quota::new(600, MINUTE, Default::default()).unwrap();
        let log = sliding_window_log::Quota::new(600, MINUTE).unwrap();
        let counter = sliding_window_counter::Quota::new(600, MINUTE).unwrap();
        let longer = MINUTE + Duration::from(length);
        for (algorithm, few, many, exactly) in [
            // Ten permits and a hundredth come back.
            (bucket.into(), 10, 11, token_bucket::Quota::new(489, 600, MINUTE).unwrap().into()),
            (leaky.into(), 10, 11, leaky_bucket::Quota::new(489, 600, MINUTE).unwrap().into()),
            (fixed.clone().into(), 0, 0, fixed.into()),
            (log.into(), 10, 600, sliding_window_log::Quota::new(600, longer).unwrap().into()),
            (
                counter.into(),
                10,
                11,
                sliding_window_counter::Quota::new(600, longer).unwrap().into(),
            ),
        ] {
            let algorithm: Algorithm = algorithm;
            let terms = terms(algorithm.clone(), length).unwrap();
            assert_eq!((terms.held_max(), terms.length()), (10, length));
            assert_eq!((terms.excess_max(1), terms.excess_max(u64::MAX)), (few, many));
            assert_eq!(terms.with_held_max(0).excess_max(7), 0);
            assert_eq!(exact(algorithm), Ok(exactly));
        }
    }

    #[test]
    fn what_has_to_see_every_request_cannot_be_leased() {
        let adaptive = adaptive::Quota::new(&adaptive::Parameters::new(10, MINUTE)).unwrap();
        let queue = leaky_bucket::Quota::new(10, 10, MINUTE).unwrap().queue(MINUTE).unwrap();
        let in_flight = in_flight::Quota::new(10, MINUTE).unwrap();
        for algorithm in [Algorithm::from(adaptive), queue.into(), in_flight.into()] {
            let not_leasable = ConfigError::NotLeasable { algorithm: algorithm.name() };
            assert_eq!(terms(algorithm.clone(), Micros::new(1)), Err(not_leasable));
            assert_eq!(algorithm.for_leases(Micros::new(1)), Err(not_leasable));
        }
    }

    #[test]
    fn a_lease_is_no_longer_than_a_window_and_exact_numbers_leave_some_permits() {
        let bucket = Algorithm::from(token_bucket::Quota::new(10, 10, MINUTE).unwrap());
        let minute = Micros::from_secs(60);
        assert_eq!(terms(bucket.clone(), WINDOW_MAX).unwrap().length(), minute);
        assert_eq!(bucket.for_leases(minute), Err(ConfigError::ZeroLimit { field: "burst" }));
        let too_long = Err(ConfigError::WindowTooLong { field: "lease", max: WINDOW_MAX });
        assert_eq!(terms(bucket, Micros::MAX), too_long);
        let longest =
            Algorithm::from(sliding_window_log::Quota::new(1, WINDOW_MAX.into()).unwrap());
        let too_long = Err(ConfigError::WindowTooLong { field: "window", max: WINDOW_MAX });
        assert_eq!(longest.for_leases(Micros::new(1)), too_long);
    }

    #[test]
    fn limits_of_nothing_and_of_everything_hold_nothing() {
        let fixed = fixed_window::Quota::new(600, MINUTE, Default::default()).unwrap();
        for quota in [fixed.unlimited(), fixed_window::Quota::nothing()] {
            assert_eq!(terms(quota, Micros::from_secs(1)).unwrap().held_max(), 0);
        }
    }
}
