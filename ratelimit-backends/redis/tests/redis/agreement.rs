//! Random traces: the server decides as the core does, field by field, whatever comes.

use std::collections::VecDeque;

use ratelimit_conformance::Reference;
use ratelimit_core::{
    Algorithm, Batch, Decision, LIMIT_MAX, Policy, adaptive, fixed_window, leaky_bucket,
    sliding_window_counter, sliding_window_log, token_bucket,
};
use ratelimit_servers::Server;

use crate::{
    dice::Dice,
    store::{START, ask, at, connect_with_clock},
};

/// One test for each algorithm: traces of single checks under changing numbers.
macro_rules! agreement {
    ($($name:ident: $make:expr;)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                trace(&[$make], 1).await;
            }
        )*
    };
}

// FAULTS 2, 38, 162, 166.
agreement! {
    a_fixed_window_is_that_of_the_core: fixed_windows;
    a_sliding_window_log_is_that_of_the_core: sliding_window_logs;
    a_sliding_window_counter_is_that_of_the_core: sliding_window_counters;
    a_token_bucket_is_that_of_the_core: token_buckets;
    a_leaky_bucket_is_that_of_the_core: leaky_buckets;
    an_adaptive_hybrid_is_that_of_the_core: adaptive_hybrids;
}

// FAULTS 166.
#[tokio::test]
async fn a_batch_of_all_algorithms_is_that_of_the_core() {
    trace(&MAKES, 4).await;
}

pub(crate) type Make = fn(&mut Dice) -> Algorithm;

pub(crate) const MAKES: [Make; 6] = [
    fixed_windows,
    sliding_window_logs,
    sliding_window_counters,
    token_buckets,
    leaky_buckets,
    adaptive_hybrids,
];

/// Asks the store and the core the same, of up to `most` checks at a time.
async fn trace(makes: &[Make], most: u64) {
    let Some(server) = Server::start(&[]) else { return };
    let (redis, clock) = connect_with_clock(&server).await;
    let mut dice = Dice::seeded();
    let mut core = Reference::default();
    let mut policies: Vec<Vec<Policy>> = Vec::new();
    let mut now = START;
    let mut last: Option<Decision> = None;
    let mut history = VecDeque::new();

    for step in 0..steps() {
        if step % 40 == 0 {
            // Two sets of numbers for each name, for a while.
            policies = makes.iter().enumerate().map(|it| dice.policies(it)).collect();
        }
        if step % 500 == 499 {
            server.cli(&["SCRIPT", "FLUSH"]);
        }
        now = dice.passes(now, last);
        clock.set(at(now));
        let (checks, action) = (dice.checks(&policies, most, last), dice.action());

        let batch = Batch::new(&checks).expect("no two are about the same");
        let wanted = core.apply(batch, action, at(now)).ok();
        let found = ask(&redis, &checks, action).await;
        history.push_back(format!("{step}: {now} {action:?} {checks:?}\n  {wanted:?}"));
        while HISTORY < history.len() {
            history.pop_front();
        }
        last = wanted.as_ref().map(|wanted| wanted[0]);
        assert_eq!(found.clone().ok(), wanted, "{found:?}\n{history:#?}");
    }
    let is_forever = |key: &String| server.cli(&["PTTL", key]) == "-1";
    assert!(!server.keys().iter().any(is_forever), "a key is without a time to live");
}

/// As many steps as a failure shows.
const HISTORY: usize = 6;

/// As many as a few seconds allow, or all that are asked for.
fn steps() -> u64 {
    if std::env::var_os("RATELIMIT_FULL").is_some() { 100_000 } else { 1_500 }
}

fn fixed_windows(dice: &mut Dice) -> Algorithm {
    let align = [fixed_window::Align::Epoch, fixed_window::Align::First][dice.index(2)];
    fixed_window::Quota::new(dice.limit(LIMIT_MAX), dice.window(), align).expect("in range").into()
}

fn sliding_window_logs(dice: &mut Dice) -> Algorithm {
    let (limit, entries_max) = (dice.limit(LIMIT_MAX), dice.sized(500));
    let quota = sliding_window_log::Quota::capped(limit, dice.window(), entries_max);
    quota.expect("in range").into()
}

fn sliding_window_counters(dice: &mut Dice) -> Algorithm {
    let quota = sliding_window_counter::Quota::new(dice.limit(LIMIT_MAX), dice.window());
    quota.expect("in range").into()
}

/// A bucket that would take too long to fill is made again.
fn token_buckets(dice: &mut Dice) -> Algorithm {
    loop {
        let (capacity, refill) = (dice.limit(LIMIT_MAX), dice.limit(LIMIT_MAX));
        let initial = [capacity, dice.below(capacity + 1)][dice.index(2)];
        let quota = token_bucket::Quota::new(capacity, refill, dice.window());
        if let Ok(quota) = quota.and_then(|quota| quota.with_initial(initial)) {
            return quota.into();
        }
    }
}

fn leaky_buckets(dice: &mut Dice) -> Algorithm {
    loop {
        let (capacity, leak) = (dice.limit(LIMIT_MAX), dice.limit(LIMIT_MAX));
        let Ok(quota) = leaky_bucket::Quota::new(capacity, leak, dice.window()) else { continue };
        return match dice.below(2) {
            0 => quota.into(),
            _ => quota.queue(dice.window()).expect("in range").into(),
        };
    }
}

fn adaptive_hybrids(dice: &mut Dice) -> Algorithm {
    loop {
        let window = dice.window();
        let mut settings = adaptive::Settings::new(dice.limit(400_000), window);
        if dice.below(2) == 0 {
            settings.adaptive_window = dice.window();
        }
        settings.penalty = [0.0, 0.3, 0.5, 1.0][dice.index(4)];
        settings.burst_multiplier = [0.7, 1.0, 2.0, 2.5][dice.index(4)];
        settings.low_load_threshold = [0.0, 0.1, 0.4][dice.index(3)];
        settings.scope = [adaptive::Scope::PerKey, adaptive::Scope::Shared][dice.index(2)];
        if let Ok(quota) = adaptive::Quota::new(&settings) {
            return quota.into();
        }
    }
}
