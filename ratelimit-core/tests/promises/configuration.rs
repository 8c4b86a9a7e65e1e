//! An invalid limit is refused when it is built, and the error names the reason.

use core::time::Duration;

use ratelimit_core::{
    Algorithm, Check, ConfigError, CostError, Key, KeyTooLong, LIMIT_MAX, Micros, Policy,
    StateError, WINDOW_MAX, WINDOW_MIN,
    adaptive::{self, Parameters},
    fixed_window::{self, Align},
    leaky_bucket, sliding_window_counter,
    sliding_window_log::{self, ENTRIES_MAX},
    token_bucket,
};

use crate::rule::one_of_each;

const SECOND: Duration = Duration::from_secs(1);

type Built = Result<Algorithm, ConfigError>;

fn fixed(limit: u64, window: Duration) -> Built {
    fixed_window::Quota::new(limit, window, Align::Epoch).map(Into::into)
}

fn log(limit: u64, window: Duration) -> Built {
    sliding_window_log::Quota::new(limit, window).map(Into::into)
}

fn counter(limit: u64, window: Duration) -> Built {
    sliding_window_counter::Quota::new(limit, window).map(Into::into)
}

fn token(capacity: u64, refill: u64, period: Duration) -> Built {
    token_bucket::Quota::new(capacity, refill, period).map(Into::into)
}

fn leaky(capacity: u64, leak: u64, period: Duration) -> Built {
    leaky_bucket::Quota::new(capacity, leak, period).map(Into::into)
}

fn adaptive(change: impl FnOnce(&mut Parameters)) -> Built {
    let mut settings = Parameters::new(10, SECOND);
    change(&mut settings);
    adaptive::Quota::new(&settings).map(Into::into)
}

#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "what is refused is of no further use")]
fn refuses(built: Built, error: ConfigError) {
    assert_eq!(built, Err(error));
}

// FAULTS 1, 2, 3, 9.
#[test]
fn a_limit_is_from_one_to_the_largest() {
    let (zero, max) = (|field| ConfigError::ZeroLimit { field }, LIMIT_MAX);
    let too_large = |field| ConfigError::LimitTooLarge { field, max };
    for (limit, error) in [
        (0, zero as fn(&'static str) -> ConfigError),
        (LIMIT_MAX + 1, |field| ConfigError::LimitTooLarge { field, max: LIMIT_MAX }),
        (u64::MAX, |field| ConfigError::LimitTooLarge { field, max: LIMIT_MAX }),
    ] {
        refuses(fixed(limit, SECOND), error("limit"));
        refuses(counter(limit, SECOND), error("limit"));
        refuses(token(limit, 1, SECOND), error("burst"));
        refuses(token(1, limit, SECOND), error("limit"));
        refuses(leaky(limit, 1, SECOND), error("capacity"));
        refuses(leaky(1, limit, SECOND), error("limit"));
    }
    for built in [fixed, counter] {
        assert!(built(LIMIT_MAX, SECOND).is_ok());
    }
    assert!(token(LIMIT_MAX, LIMIT_MAX, SECOND).is_ok());
    refuses(adaptive(|settings| settings.limit = 0), zero("limit"));
    refuses(adaptive(|settings| settings.limit = u64::MAX), too_large("limit"));
}

// FAULTS 3.
#[test]
fn a_log_is_as_long_as_memory_allows() {
    let capped = |limit, entries| {
        sliding_window_log::Quota::capped(limit, SECOND, entries).map(Algorithm::from)
    };
    let too_many = |field| ConfigError::LimitTooLarge { field, max: ENTRIES_MAX };
    assert!(log(ENTRIES_MAX, SECOND).is_ok());
    assert!(capped(LIMIT_MAX, ENTRIES_MAX).is_ok());
    assert!(matches!(log(0, SECOND), Err(ConfigError::ZeroLimit { .. })));
    assert!(matches!(log(ENTRIES_MAX + 1, SECOND), Err(ConfigError::LimitTooLarge { .. })));
    refuses(capped(1, 0), ConfigError::ZeroLimit { field: "entries_max" });
    refuses(capped(1, ENTRIES_MAX + 1), too_many("entries_max"));
    refuses(capped(0, 1), ConfigError::ZeroLimit { field: "limit" });
    let error = ConfigError::LimitTooLarge { field: "limit", max: LIMIT_MAX };
    refuses(capped(LIMIT_MAX + 1, 1), error);
    refuses(
        adaptive(|settings| settings.limit = ENTRIES_MAX),
        too_many("limit * burst_multiplier"),
    );
}

// FAULTS 4, 5, 6, 39.
#[test]
fn a_window_is_whole_microseconds_from_the_shortest_to_the_longest() {
    let (min, max, field) = (WINDOW_MIN, WINDOW_MAX, "window");
    let year = Duration::from_secs(365 * 86_400);
    let table = [
        (Duration::ZERO, Err(ConfigError::ZeroWindow { field })),
        (Duration::from_nanos(1), Err(ConfigError::WindowTooShort { field, min })),
        (Duration::from_nanos(999), Err(ConfigError::WindowTooShort { field, min })),
        (Duration::from_nanos(1_001), Err(ConfigError::Unrepresentable { field })),
        (Duration::from_micros(1), Ok(())),
        (Duration::from_millis(10), Ok(())),
        (year, Ok(())),
        (max.into(), Ok(())),
        (
            Duration::from(max) + Duration::from_nanos(1),
            Err(ConfigError::WindowTooLong { field, max }),
        ),
        (100 * year, Err(ConfigError::WindowTooLong { field, max })),
        (Duration::MAX, Err(ConfigError::WindowTooLong { field, max })),
    ];
    for (window, expected) in table {
        let bucket = |build: fn(u64, u64, Duration) -> Built| build(1, 1, window);
        let others = [fixed(7, window), log(7, window), counter(7, window)];
        for built in others.into_iter().chain([bucket(token), bucket(leaky)]) {
            assert_eq!(built.map(|_| ()), expected, "{window:?}");
        }
        let built = adaptive(|settings| {
            (settings.window, settings.adaptive_window) = (window, SECOND);
        });
        assert_eq!(built.map(|_| ()), expected, "{window:?}");
    }
}

// FAULTS 7.
#[test]
fn rates_that_do_not_divide_are_taken_exactly_or_not_at_all() {
    assert!(token(7, 7, 3 * SECOND).is_ok());
    assert!(token(1_000_000_001, 1_000_000_001, SECOND).is_ok());
    let too_short = ConfigError::WindowTooShort { field: "window", min: WINDOW_MIN };
    refuses(token(1, 1, Duration::from_nanos(7)), too_short);
}

// FAULTS 6.
#[test]
fn a_bucket_fills_within_the_longest_window() {
    let max = WINDOW_MAX;
    let too_long = |field| ConfigError::WindowTooLong { field, max };
    assert!(token(10, 10, max.into()).is_ok());
    refuses(token(11, 10, max.into()), too_long("refill"));
    refuses(leaky(11, 10, max.into()), too_long("leak"));
    refuses(token(LIMIT_MAX, 1, SECOND), too_long("refill"));
}

#[test]
fn the_options_of_buckets_have_their_bounds() {
    let bucket = token_bucket::Quota::new(10, 1, SECOND).unwrap();
    assert!(bucket.with_initial(0).is_ok() && bucket.with_initial(10).is_ok());
    let error = ConfigError::LimitTooLarge { field: "initial", max: 10 };
    assert_eq!(bucket.with_initial(11), Err(error));

    let (field, max) = ("longest_delay", WINDOW_MAX);
    let bucket = leaky_bucket::Quota::new(10, 1, SECOND).unwrap();
    assert!(bucket.queue(Duration::ZERO).is_ok() && bucket.queue(max.into()).is_ok());
    let error = ConfigError::WindowTooLong { field, max };
    assert_eq!(bucket.queue(Duration::MAX), Err(error));
    let error = ConfigError::Unrepresentable { field };
    assert_eq!(bucket.queue(Duration::from_nanos(1)), Err(error));
}

// FAULTS 8, 9.
#[test]
fn fractions_are_finite_positive_and_within_their_range() {
    type Set = fn(&mut Parameters, f64);
    let multiplier: Set = |settings, value| settings.burst_multiplier = value;
    let high: Set = |settings, value| settings.high_load_threshold = value;
    let low: Set = |settings, value| settings.low_load_threshold = value;
    let penalty: Set = |settings, value| settings.penalty = value;
    let fields = [
        ("burst_multiplier", multiplier),
        ("high_load_threshold", high),
        ("low_load_threshold", low),
        ("penalty", penalty),
    ];
    for (field, set) in fields {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            refuses(adaptive(|it| set(it, value)), ConfigError::NotFinite { field });
        }
        for value in [-1.0, -0.0, -f64::MIN_POSITIVE / 2.0] {
            assert!(adaptive(|it| set(it, value)).is_err(), "{field} {value}");
        }
        assert!(adaptive(|it| set(it, f64::MAX)).is_err(), "{field}");
    }
    for value in [0.0, -0.0, -1.0, f64::MIN_POSITIVE / 2.0] {
        let error = ConfigError::NotPositive { field: "burst_multiplier" };
        refuses(adaptive(|it| it.burst_multiplier = value), error);
    }
    let out_of = |field, low, high| ConfigError::OutOfRange { field, low, high };
    refuses(adaptive(|it| it.penalty = 1.000_001), out_of("penalty", 0.0, 1.0));
    refuses(adaptive(|it| it.penalty = -0.1), out_of("penalty", 0.0, 1.0));
    for low in [0.8, 0.9] {
        let built = adaptive(|it| it.low_load_threshold = low);
        let is_named =
            matches!(built, Err(ConfigError::OutOfRange { field: "low_load_threshold", .. }));
        assert!(is_named, "{built:?}");
    }
    assert!(adaptive(|it| (it.penalty, it.low_load_threshold) = (1.0, 0.0)).is_ok());
}

// FAULTS 9.
#[test]
fn a_sensor_has_a_window() {
    let field = "adaptive_window";
    let built = adaptive(|settings| settings.adaptive_window = Duration::ZERO);
    refuses(built, ConfigError::ZeroWindow { field });
    let built = adaptive(|settings| settings.adaptive_window = Duration::MAX);
    refuses(built, ConfigError::WindowTooLong { field, max: WINDOW_MAX });
}

// FAULTS 20, 22.
#[test]
fn a_cost_is_from_one_to_the_limit() {
    for rule in one_of_each() {
        let policy = rule.policy();
        let max = policy.limit();
        assert_eq!(policy.cost(0), Err(CostError::Zero));
        assert_eq!(policy.cost(1).unwrap().get(), 1);
        assert_eq!(policy.cost(max).unwrap().get(), max);
        for cost in [max + 1, u32::MAX.into(), u64::MAX] {
            let expected = CostError::ExceedsLimit { cost, max };
            assert_eq!(policy.cost(cost), Err(expected));
            let check = Check::new(&policy, Key::new("key").unwrap(), cost);
            assert_eq!(check.map(|_| ()).unwrap_err(), expected);
        }
    }
}

// FAULTS 11.
#[test]
fn a_name_is_1_to_64_plain_characters() {
    let [rule, ..] = one_of_each();
    let named = |name: &str| Policy::new(name, rule.algorithm().unwrap()).map(|_| ());
    let longest = "x".repeat(64);
    for name in ["a", "api", "api-v1.burst_2", longest.as_str()] {
        assert_eq!(named(name), Ok(()), "{name}");
    }
    let too_long = ["x".repeat(65), "x".repeat(300)];
    let bad = ["", " ", "a b", "a\r", "a\n", "a\0", "{a}", "a*", "A", "ä", "a:b", "a/b"];
    for name in bad.into_iter().chain(too_long.iter().map(String::as_str)) {
        assert_eq!(named(name), Err(ConfigError::BadName), "{name:?}");
    }
}

#[test]
fn a_key_is_any_bytes_of_bounded_length() {
    let max = Key::BYTES_MAX;
    let bytes = vec![0_u8; max + 1];
    assert!(Key::new(&bytes[..max]).is_ok());
    assert!(Key::new("").is_ok());
    assert_eq!(Key::new(&bytes), Err(KeyTooLong { max }));
    assert_eq!(Micros::MAX, Micros::new(u64::MAX));
}

#[test]
fn errors_say_what_is_wrong_and_what_the_bound_is() {
    let (field, second) = ("limit", Micros::new(1_000_000));
    let texts = [
        (ConfigError::ZeroLimit { field }, "limit is 0, the least is 1"),
        (ConfigError::LimitTooLarge { field, max: 7 }, "limit exceeds 7"),
        (ConfigError::ZeroWindow { field: "window" }, "window has no length"),
        (ConfigError::WindowTooShort { field, min: second }, "limit is shorter than 1s"),
        (ConfigError::WindowTooLong { field, max: second }, "limit is longer than 1s"),
        (ConfigError::OutOfRange { field, low: 0.5, high: 1.0 }, "limit is not between 0.5 and 1"),
        (
            ConfigError::AlgorithmChange { from: "token bucket", to: "fixed window" },
            "a fixed window cannot carry over what a token bucket has stored, only reset it",
        ),
    ];
    for (error, text) in texts {
        assert_eq!(error.to_string(), text);
    }
    let cost = CostError::ExceedsLimit { cost: 9, max: 7 };
    assert_eq!(cost.to_string(), "cost 9 exceeds limit 7");
    assert_eq!(CostError::Zero.to_string(), "cost is 0");
    assert_eq!(KeyTooLong { max: 7 }.to_string(), "key is longer than 7 bytes");
    let found = StateError::Version { found: 2, want: 1 };
    assert_eq!(found.to_string(), "stored state has version 2, this library reads 1");
    let found = StateError::Algorithm { found: "token bucket", want: "fixed window" };
    let text = "stored state is of a token bucket, the policy is a fixed window";
    assert_eq!(found.to_string(), text);
}
