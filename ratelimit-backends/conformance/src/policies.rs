//! The policies of the suite's named promises.
//!
//! They span a minute, so that a store with a clock of its own forgets nothing during a test.

use std::{sync::LazyLock, time::Duration};

use ratelimit_core::{
    Algorithm, Calendar, ConfigError, Micros, Policy, Timestamp,
    adaptive::{self, Scope},
    fixed_window::{self, Align},
    in_flight, leaky_bucket, sliding_window_counter, sliding_window_log, token_bucket,
};

use crate::store_under_test::START;

/// No more permits are held at once, so that a store may bound what it keeps of one key.
pub(crate) const HELD_MAX: u64 = 1_000;

/// The time until spent permits no longer count, or little less.
pub(crate) const SPAN: Duration = Duration::from_secs(60);

/// One policy of each algorithm, and of each kind where there are several, of about `limit`
/// permits, each under a name of its own. What is spent under them counts for a minute or two.
#[must_use]
pub fn one_of_each(limit: u64) -> Vec<Policy> {
    [keys_apart(limit), shared_sensors(limit)].concat()
}

/// The policies of [`one_of_each`] whose keys share no state.
pub(crate) fn keys_apart(limit: u64) -> Vec<Policy> {
    [
        fixed_windows(limit),
        sliding_window_logs(limit),
        sliding_window_counters(limit),
        token_buckets(limit),
        leaky_buckets(limit),
        adaptive_hybrids(limit),
        permits_in_flight(limit),
    ]
    .concat()
}

pub(crate) fn fixed_windows(limit: u64) -> Vec<Policy> {
    let quota = |align| fixed_window::Quota::new(limit, SPAN, align);
    vec![
        policy("fixed-window", quota(Align::Epoch)),
        policy("fixed-window.first", quota(Align::First)),
        policy("fixed-window.calendar", fixed_window::Quota::by_calendar(limit, minutes())),
    ]
}

/// Windows of about a minute, for a month before and after the start of tests.
fn minutes() -> Calendar {
    static MINUTES: LazyLock<Calendar> = LazyLock::new(|| {
        let month = Micros::from_secs(30 * 86_400);
        let boundaries =
            starts([45, 61, 74, 60].map(Micros::from_secs), START - month, START + month);
        Calendar::new("minutes", boundaries).expect("time goes on")
    });
    MINUTES.clone()
}

/// The starts of windows of these lengths, by turns, between two instants.
pub(crate) fn starts(
    lengths: [Micros; 4],
    first: Timestamp,
    last: Timestamp,
) -> impl Iterator<Item = Timestamp> {
    let mut next = first;
    let starts = lengths.into_iter().cycle().map(move |length| {
        let start = next;
        next = next + length;
        start
    });
    starts.take_while(move |start| *start <= last)
}

pub(crate) fn sliding_window_logs(limit: u64) -> Vec<Policy> {
    let capped = sliding_window_log::Quota::capped(limit, SPAN, limit.div_ceil(2));
    vec![
        policy("sliding-window-log", sliding_window_log::Quota::new(limit, SPAN)),
        policy("sliding-window-log.capped", capped),
    ]
}

pub(crate) fn sliding_window_counters(limit: u64) -> Vec<Policy> {
    vec![policy("sliding-window-counter", sliding_window_counter::Quota::new(limit, SPAN))]
}

/// At a rate that no whole number of microseconds expresses.
pub(crate) fn token_buckets(limit: u64) -> Vec<Policy> {
    let quota = token_bucket::Quota::new(limit, 7 * limit, 6 * SPAN);
    let low = quota.and_then(|quota| quota.with_initial(limit / 3));
    vec![policy("token-bucket", quota), policy("token-bucket.low", low)]
}

pub(crate) fn leaky_buckets(limit: u64) -> Vec<Policy> {
    let quota = leaky_bucket::Quota::new(limit, 7 * limit, 6 * SPAN);
    let queue = quota.and_then(|quota| quota.queue(SPAN / 2));
    vec![policy("leaky-bucket", quota), policy("leaky-bucket.queue", queue)]
}

pub(crate) fn adaptive_hybrids(limit: u64) -> Vec<Policy> {
    vec![policy("adaptive", adaptive::Quota::new(&parameters(limit)))]
}

/// Of as many permits as may be held, where `limit` is more.
pub(crate) fn permits_in_flight(limit: u64) -> Vec<Policy> {
    vec![policy("in-flight", in_flight::Quota::new(limit.min(HELD_MAX), SPAN))]
}

pub(crate) fn shared_sensors(limit: u64) -> Vec<Policy> {
    let mut parameters = parameters(limit);
    parameters.scope = Scope::Shared;
    vec![policy("adaptive.shared", adaptive::Quota::new(&parameters))]
}

/// The numbers of a hybrid whose load falls and rises within a trace.
fn parameters(limit: u64) -> adaptive::Parameters {
    let mut parameters = adaptive::Parameters::new(limit, SPAN);
    parameters.adaptive_window = SPAN * 2;
    parameters
}

pub(crate) fn policy(name: &str, quota: Result<impl Into<Algorithm>, ConfigError>) -> Policy {
    Policy::new(name, quota.expect("the numbers are good")).expect("the name is good")
}
