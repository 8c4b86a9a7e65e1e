//! Generators of policies: random numbers, the largest and the smallest among them.

use std::time::Duration;

use fastrand::Rng;
use ratelimit_core::{
    Algorithm, Calendar, CarryOver, ConfigError, LIMIT_MAX, Micros, Policy, Timestamp, WINDOW_MAX,
    adaptive, fixed_window, in_flight, leaky_bucket, sliding_window_counter, sliding_window_log,
    token_bucket,
};

use crate::policies::{HELD_MAX, starts};

/// Generates the numbers of an algorithm.
pub(crate) type Generator = fn(&mut Rng) -> Algorithm;

pub(crate) const ONE_OF_EACH: [Generator; 7] = [
    fixed_window,
    sliding_window_log,
    sliding_window_counter,
    token_bucket,
    leaky_bucket,
    adaptive_hybrid,
    permits_in_flight,
];

/// Any algorithm under either of two names.
pub(crate) const ANY_ALGORITHM: [Generator; 2] = [any, any];

/// Logs of one window, see [`Trace::run_long_logs`](crate::traces::Trace::run_long_logs).
pub(crate) const LONG_LOGS: [Generator; 2] = [long_sliding_window_log, long_adaptive_hybrid];

pub(crate) const ANY_CARRY_OVER: [CarryOver; 3] =
    [CarryOver::AsIs, CarryOver::Proportional, CarryOver::Reset];

/// A policy under a name for each of `generators`, by one of `rules`.
pub(crate) fn policies(
    random: &mut Rng,
    generators: &[Generator],
    rules: &[CarryOver],
) -> Vec<Policy> {
    let policy = |(index, generate): (usize, &Generator)| {
        let policy = Policy::new(&format!("policy-{index}"), generate(random));
        let policy = policy.expect("the name is good").with_carry_over(pick(random, rules));
        owing(random, policy)
    };
    generators.iter().enumerate().map(policy).collect()
}

/// A policy of each algorithm, of random numbers.
#[must_use]
pub fn random_policies(random: &mut Rng) -> Vec<Policy> {
    policies(random, &ONE_OF_EACH, &ANY_CARRY_OVER)
}

/// The policy with a debt of nothing, of some permits, or of the most that there may be.
fn owing(random: &mut Rng, policy: Policy) -> Policy {
    let debt_max = match random.u8(..4) {
        0 | 1 => 0,
        2 => limit(random),
        _ => LIMIT_MAX,
    };
    match policy.clone().with_debt_max(debt_max) {
        Err(ConfigError::LimitTooLarge { max, .. }) => {
            policy.with_debt_max(max).expect("it is the most")
        }
        // Keys of some may owe nothing.
        result => result.unwrap_or(policy),
    }
}

/// Generates an algorithm of any kind.
fn any(random: &mut Rng) -> Algorithm {
    pick(random, &ONE_OF_EACH)(random)
}

pub(crate) fn fixed_window(random: &mut Rng) -> Algorithm {
    let (limit, window) = limit_and_window(random);
    let quota = match random.u8(..4) {
        0 => fixed_window::Quota::by_calendar(limit, calendar(random)),
        one => {
            let align = [fixed_window::Align::Epoch, fixed_window::Align::First];
            fixed_window::Quota::new(limit, window, align[usize::from(one % 2)])
        }
    };
    let quota = quota.expect("in range");
    match random.u8(..8) {
        0 => fixed_window::Quota::nothing().into(),
        1 => quota.unlimited().into(),
        _ => quota.into(),
    }
}

pub(crate) fn sliding_window_log(random: &mut Rng) -> Algorithm {
    let (limit, window) = limit_and_window(random);
    let quota = sliding_window_log::Quota::capped(limit, window, of_any_size(random, ENTRIES_MAX));
    quota.expect("in range").into()
}

pub(crate) fn sliding_window_counter(random: &mut Rng) -> Algorithm {
    let (limit, window) = limit_and_window(random);
    sliding_window_counter::Quota::new(limit, window).expect("in range").into()
}

/// Generates windows that are so long that not too many of them are all of time.
fn calendar(random: &mut Rng) -> Calendar {
    let lengths = [(); 4].map(|()| Micros::from_secs(86_400 * random.u64(20..=40)));
    let boundaries = starts(lengths, Timestamp::EPOCH, Timestamp::MAX);
    Calendar::new(&format!("{lengths:?}"), boundaries).expect("time goes on")
}

/// Generates again if a bucket would take too long to fill.
pub(crate) fn token_bucket(random: &mut Rng) -> Algorithm {
    loop {
        let ((capacity, window), refill) = (limit_and_window(random), limit(random));
        let initial = if random.bool() { capacity } else { random.u64(..=capacity) };
        let quota = token_bucket::Quota::new(capacity, refill, window);
        if let Ok(quota) = quota.and_then(|quota| quota.with_initial(initial)) {
            return quota.into();
        }
    }
}

pub(crate) fn leaky_bucket(random: &mut Rng) -> Algorithm {
    loop {
        let ((capacity, period), leak) = (limit_and_window(random), limit(random));
        let Ok(quota) = leaky_bucket::Quota::new(capacity, leak, period) else { continue };
        if random.bool() {
            return quota.into();
        }
        return quota.queue(window(random)).expect("in range").into();
    }
}

pub(crate) fn adaptive_hybrid(random: &mut Rng) -> Algorithm {
    loop {
        let mut parameters = adaptive::Parameters::new(limit(random), window(random));
        if random.bool() {
            parameters.adaptive_window = window(random);
        }
        parameters.penalty = pick(random, &[0.0, 0.3, 0.5, 1.0]);
        parameters.burst_multiplier = pick(random, &[0.7, 1.0, 2.0, 2.5]);
        parameters.low_load_threshold = pick(random, &[0.0, 0.1, 0.4]);
        parameters.scope = pick(random, &[adaptive::Scope::PerKey, adaptive::Scope::Shared]);
        if let Ok(quota) = adaptive::Quota::new(&parameters) {
            return quota.into();
        }
    }
}

/// Generates limits that every store takes.
pub(crate) fn permits_in_flight(random: &mut Rng) -> Algorithm {
    let limit = limit(random).min(HELD_MAX);
    in_flight::Quota::new(limit, window(random)).expect("in range").into()
}

fn long_sliding_window_log(random: &mut Rng) -> Algorithm {
    let limit = random.u64(LONG / 4..=LONG);
    let entries_max = if random.bool() { limit } else { random.u64(LONG / 4..=LONG) };
    sliding_window_log::Quota::capped(limit, LONG_WINDOW, entries_max).expect("in range").into()
}

fn long_adaptive_hybrid(random: &mut Rng) -> Algorithm {
    let mut parameters = adaptive::Parameters::new(random.u64(LONG / 8..=LONG / 2), LONG_WINDOW);
    parameters.burst_multiplier = pick(random, &[1.0, 2.5]);
    parameters.scope = pick(random, &[adaptive::Scope::PerKey, adaptive::Scope::Shared]);
    adaptive::Quota::new(&parameters).expect("in range").into()
}

/// Returns a limit and a window; now and then such that their product, in microseconds, is close to the
/// largest that stores form.
fn limit_and_window(random: &mut Rng) -> (u64, Duration) {
    if random.u8(..6) != 0 {
        return (limit(random), window(random));
    }
    let product = (1_u64 << random.u32(51..=53)) - 2 + random.u64(..=4);
    let window = of_any_size(random, WINDOW_MAX.as_micros());
    let limit = (product / window + random.u64(..=1)).clamp(1, LIMIT_MAX);
    (limit, Duration::from_micros(window))
}

/// Returns a limit, most often a small one, so that it is reached.
fn limit(random: &mut Rng) -> u64 {
    match random.u8(..4) {
        0 => of_any_size(random, LIMIT_MAX),
        _ => random.u64(1..=20),
    }
}

fn window(random: &mut Rng) -> Duration {
    Duration::from_micros(match random.u8(..4) {
        0 => of_any_size(random, WINDOW_MAX.as_micros()),
        1 => random.u64(1..=50),
        _ => 1_000_000 * random.u64(1..=60),
    })
}

/// Returns a number from one to `most`, all magnitudes equally likely, sometimes `most` itself.
pub(crate) fn of_any_size(random: &mut Rng, most: u64) -> u64 {
    match random.u8(..20) {
        0 => most,
        _ => {
            let magnitude = random.u32(..=most.ilog2());
            random.u64(1..=most >> magnitude)
        }
    }
}

pub(crate) fn pick<T: Copy>(random: &mut Rng, from: &[T]) -> T {
    random.choice(from.iter().copied()).expect("there is something to pick from")
}

const ENTRIES_MAX: u64 = 500;

/// The most entries of a long log.
pub(crate) const LONG: u64 = 1_000;

pub(crate) const LONG_WINDOW: Duration = Duration::from_secs(60);
