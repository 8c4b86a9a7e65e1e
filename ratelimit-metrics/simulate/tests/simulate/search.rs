//! The smallest limits: what is found denies few enough clients, and one permit less denies more.

use proptest::prelude::*;
use ratelimit_simulate::{Report, Share, Simulation, Timestamp};

/// Limits with a size of `{}`.
const KINDS: [&str; 6] = [
    "{ limit = 3, window = '7s', burst = {} }",
    "{ limit = 1, window = '1s', refill_rate = 0.4, burst = {} }",
    "{ algorithm = 'leaky_bucket', limit = 5, window = '3s', capacity = {} }",
    "{ algorithm = 'fixed_window', limit = {}, window = '30d' }",
    "{ algorithm = 'sliding_window_log', limit = {}, window = '10s' }",
    "{ algorithm = 'sliding_window_counter', limit = {}, window = '11s' }",
];

/// Microseconds since the request before, client, cost.
type Step = (u64, u8, u64);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let length = prop_oneof![3 => 0..300_000_u64, 1 => 0..9_000_000_u64];
    prop::collection::vec((length, 0..12_u8, prop_oneof![5 => Just(1_u64), 1 => 1..4_u64]), 1..150)
}

fn simulate(simulation: Simulation, steps: &[Step]) -> Report {
    let (mut simulation, mut at) = (simulation, 1_760_104_536_000_000);
    for (length, client, cost) in steps {
        at += length;
        simulation.request(&[*client], Timestamp::from_micros(at).unwrap(), *cost);
    }
    simulation.report()
}

fn limits(kind: &str, size: u64) -> Simulation {
    Simulation::new(format!("x = {}", kind.replace("{}", &size.to_string())).parse().unwrap())
}

fn clients_denied(kind: &str, size: u64, steps: &[Step]) -> u64 {
    simulate(limits(kind, size), steps).candidates[0].clients_denied
}

proptest! {
    #[test]
    fn the_smallest_size_denies_few_enough_clients_and_one_less_denies_more(
        steps in steps(),
        percent in prop_oneof![Just(0_u64), 0..=100_u64],
    ) {
        let share: Share = format!("{percent}%").parse().unwrap();
        for kind in KINDS {
            let report = simulate(limits(kind, 5).with_search(share).unwrap(), &steps);
            let may_be_denied = report.clients * percent / 100;
            let found: Simulation = Simulation::new(report.to_limits_file().parse().unwrap());
            let found = simulate(found, &steps);
            prop_assert!(found.candidates[0].clients_denied <= may_be_denied, "{kind}");
            let size = size(&found.candidates[0].limit);
            prop_assert!(clients_denied(kind, size, &steps) <= may_be_denied, "{kind}");
            if 1 < size {
                prop_assert!(may_be_denied < clients_denied(kind, size - 1, &steps), "{kind}");
            }
        }
    }

    /// Each point of the frontier is the smallest size at its rate, and a faster rate never needs a
    /// larger one.
    #[test]
    fn the_frontier_is_what_each_rate_would_have_done(steps in steps()) {
        let report = simulate(limits(KINDS[0], 4).with_search("10%".parse().unwrap()).unwrap(), &steps);
        let smallest = report.candidates[0].smallest.as_ref().unwrap();
        let may_be_denied = report.clients / 10;
        let mut before = u64::MAX;
        for point in &smallest.frontier {
            let limit = point.rate.split('/').next().unwrap();
            let kind = KINDS[0].replace("limit = 3", &format!("limit = {limit}"));
            let size = point.size.unwrap();
            prop_assert!(clients_denied(&kind, size, &steps) <= may_be_denied);
            if 1 < size {
                prop_assert!(may_be_denied < clients_denied(&kind, size - 1, &steps));
            }
            prop_assert!(size <= before);
            before = size;
        }
        // The slowest rate at the candidate's own burst of 4.
        let enough = smallest.frontier.iter().find(|point| point.size.unwrap() <= 4);
        prop_assert_eq!(enough.map(|point| &point.rate), smallest.rate.as_ref());
    }
}

/// The number in a notation that [`KINDS`] leave open.
fn size(limit: &str) -> u64 {
    let field = ["burst = ", "capacity = ", "limit = "].into_iter().find(|it| limit.contains(it));
    let (_, after) = limit.split_once(field.unwrap()).unwrap();
    after.split(|letter: char| !letter.is_ascii_digit()).next().unwrap().parse().unwrap()
}

#[test]
fn limits_that_depend_on_more_than_rate_and_size_are_refused() {
    for limit in [
        "{ algorithm = 'adaptive', limit = 3, window = '1s' }",
        "{ algorithm = 'leaky_bucket', limit = 3, window = '1s', queue = '1s' }",
        "{ limit = 3, window = '1s', initial = 1 }",
    ] {
        let simulation = Simulation::new(format!("x = {limit}").parse().unwrap());
        let error = simulation.with_search("1%".parse().unwrap()).unwrap_err().to_string();
        assert!(error.starts_with("x has no smallest limit"), "{error}");
    }
}

#[test]
fn a_share_is_a_percentage() {
    for (text, shown) in
        [("1%", "1%"), ("0.05%", "0.05%"), ("0%", "0%"), ("100%", "100%"), ("2.50%", "2.5%")]
    {
        assert_eq!(text.parse::<Share>().unwrap().to_string(), shown);
    }
    for text in ["1", "%", "-1%", "100.0001%", "1.%", "0.00001%", ".5%", "1 %", "x%"] {
        assert!(text.parse::<Share>().is_err(), "{text}");
    }
}
