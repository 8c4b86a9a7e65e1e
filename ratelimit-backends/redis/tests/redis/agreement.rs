//! Random traces: the server decides as the core does, field by field, whatever comes.

use std::{collections::VecDeque, time::Duration};

use ratelimit_conformance::Reference;
use ratelimit_core::{
    Action, Algorithm, Batch, CarryOver, Check, Decision, LIMIT_MAX, Micros, Policy, Receipt,
    Timestamp, WINDOW_MAX, adaptive, fixed_window, leaky_bucket, sliding_window_counter,
    sliding_window_log, token_bucket,
};
use ratelimit_servers::Server;

use crate::store::{START, ask, at, check, connect_with_clock};

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

/// Random numbers, the same in every run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn seeded() -> Self {
        let seed = std::env::var("RATELIMIT_SEED").ok().and_then(|seed| seed.parse().ok());
        Self(seed.unwrap_or_default())
    }

    /// SplitMix64.
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    const fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn index(&mut self, end: usize) -> usize {
        usize::try_from(self.below(end as u64)).expect("below the end")
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.index(of.len())]
    }

    /// Of any size up to `most`, and now and then that.
    fn sized(&mut self, most: u64) -> u64 {
        match self.below(20) {
            0 => most,
            _ => {
                let bits = self.below(u64::from(most.ilog2()) + 1);
                (1 + self.below(2 << bits)).min(most)
            }
        }
    }

    /// Most often small, so that it is reached.
    fn limit(&mut self, max: u64) -> u64 {
        match self.below(4) {
            0 => self.sized(max),
            _ => 1 + self.below(20),
        }
    }

    fn window(&mut self) -> Duration {
        Duration::from_micros(match self.below(4) {
            0 => self.sized(WINDOW_MAX.as_micros()),
            1 => 1 + self.below(50),
            _ => 1_000_000 * (1 + self.below(60)),
        })
    }

    fn policies(&mut self, (index, make): (usize, &Make)) -> Vec<Policy> {
        let rules = [CarryOver::AsIs, CarryOver::Proportional, CarryOver::Reset];
        let name = format!("policy-{index}");
        let mut policy = || {
            let policy = Policy::new(&name, make(self)).expect("the name is good");
            policy.with_carry_over(rules[self.index(3)])
        };
        let (often, seldom) = (policy(), policy());
        let mut policies = vec![often; 12];
        policies.push(seldom);
        policies
    }

    /// Of names with the numbers that they have most often, or seldom.
    fn checks<'a>(
        &mut self,
        policies: &'a [Vec<Policy>],
        most: u64,
        last: Option<Decision>,
    ) -> Vec<Check<'a>> {
        let names: Vec<_> = policies.iter().map(|numbers| self.pick(numbers)).collect();
        let mut checks: Vec<Check<'_>> = Vec::new();
        for _ in 0..=self.below(most) {
            let policy = names[self.index(names.len())];
            let cost = self.cost(policy.limit());
            let receipt = last.map(|last| Receipt::of(&last, cost)).filter(|_| self.below(3) == 0);
            let check = check(policy, self.key(), cost).with_receipt(receipt);
            if checks.iter().all(|known| !known.is_about(&check)) {
                checks.push(check);
            }
        }
        checks
    }

    pub(crate) fn key(&mut self) -> &'static [u8] {
        self.pick::<&[u8]>(&[b"a", b"b", b"{c}"])
    }

    pub(crate) fn cost(&mut self, limit: u64) -> u64 {
        match self.below(10) {
            0..5 => 1,
            5..9 => 1 + self.below(limit.div_ceil(3)),
            _ => 1 + self.below(limit),
        }
    }

    fn action(&mut self) -> Action {
        match self.below(100) {
            0..72 => Action::Spend,
            72..82 => Action::Peek,
            82..94 => Action::Refund,
            94..96 => Action::Charge,
            96..98 => Action::Block(Micros::new(self.sized(1_000_000))),
            _ => Action::Reset,
        }
    }

    /// Time stands, passes, passes to the moment that was promised, or steps back.
    pub(crate) fn passes(&mut self, now: u64, last: Option<Decision>) -> u64 {
        let promised = last.map_or(0, |last| match last.retry_after().as_micros() {
            0 => last.reset_after.as_micros(),
            wait => wait,
        });
        let then = match self.below(16) {
            0..6 => now,
            6 => now + 1,
            7 | 8 => now + self.sized(30_000_000),
            9 => now + self.sized(3_000_000_000),
            10 => (now + promised).saturating_sub(1),
            11 => now + promised,
            12 => now + self.below(promised.max(1)),
            13 => now.saturating_sub(self.sized(1_000_000)),
            14 => now.saturating_sub(self.sized(100_000_000)),
            _ => now + 2,
        };
        if then < Timestamp::MAX.as_micros() / 2 { then } else { START }
    }
}
