//! The policies that stores are asked about.
//!
//! They span a minute: a store that forgets by a clock of its own does not in the time of a test.

use std::time::Duration;

use ratelimit_core::{
    Algorithm, ConfigError, Policy,
    adaptive::{self, Scope},
    fixed_window::{self, Align},
    leaky_bucket, sliding_window_counter, sliding_window_log, token_bucket,
};

/// How long it takes until what was spent no longer counts, or little longer.
pub(crate) const SPAN: Duration = Duration::from_secs(60);

/// One policy of each algorithm, and of each kind where there are several, of about `limit`
/// permits, each under a name of its own. What is spent under them counts for a minute or two.
#[must_use]
pub fn one_of_each(limit: u64) -> Vec<Policy> {
    [keys_apart(limit), shared_sensors(limit)].concat()
}

/// Those among [`one_of_each`] whose keys have nothing in common.
pub(crate) fn keys_apart(limit: u64) -> Vec<Policy> {
    [
        fixed_windows(limit),
        sliding_window_logs(limit),
        sliding_window_counters(limit),
        token_buckets(limit),
        leaky_buckets(limit),
        adaptive_hybrids(limit),
    ]
    .concat()
}

pub(crate) fn fixed_windows(limit: u64) -> Vec<Policy> {
    let quota = |align| fixed_window::Quota::new(limit, SPAN, align);
    vec![
        policy("fixed-window", quota(Align::Epoch)),
        policy("fixed-window.first", quota(Align::First)),
    ]
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
    vec![policy("adaptive", adaptive::Quota::new(&settings(limit)))]
}

pub(crate) fn shared_sensors(limit: u64) -> Vec<Policy> {
    let mut settings = settings(limit);
    settings.scope = Scope::Shared;
    vec![policy("adaptive.shared", adaptive::Quota::new(&settings))]
}

/// Of so few requests that the load falls and rises within a trace.
fn settings(limit: u64) -> adaptive::Parameters {
    let mut settings = adaptive::Parameters::new(limit, SPAN);
    settings.adaptive_window = SPAN * 2;
    settings
}

pub(crate) fn policy(name: &str, quota: Result<impl Into<Algorithm>, ConfigError>) -> Policy {
    Policy::new(name, quota.expect("the numbers are good")).expect("the name is good")
}
