//! What a trace is made of: random numbers, policies, keys, costs and times.

use std::time::Duration;

use ratelimit_core::{
    Action, CarryOver, Check, Decision, Micros, Policy, Receipt, Timestamp, WINDOW_MAX,
};

use crate::{
    agreement::Make,
    store::{START, check},
};

/// Those of the conformance suite, which fall for numbers, keys and times of a store as well.
pub(crate) struct Dice(ratelimit_conformance::Dice);

impl Dice {
    pub(crate) fn seeded() -> Self {
        let seed = std::env::var("RATELIMIT_SEED").ok().and_then(|seed| seed.parse().ok());
        Self(ratelimit_conformance::Dice::new(seed.unwrap_or_default()))
    }

    pub(crate) const fn below(&mut self, end: u64) -> u64 {
        self.0.below(end)
    }

    pub(crate) fn index(&mut self, end: usize) -> usize {
        usize::try_from(self.below(end as u64)).expect("below the end")
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        self.0.pick(of)
    }

    /// Of any size up to `most`, and now and then that.
    pub(crate) fn sized(&mut self, most: u64) -> u64 {
        match self.below(20) {
            0 => most,
            _ => {
                let bits = self.below(u64::from(most.ilog2()) + 1);
                (1 + self.below(2 << bits)).min(most)
            }
        }
    }

    /// Most often small, so that it is reached.
    pub(crate) fn limit(&mut self, max: u64) -> u64 {
        match self.below(4) {
            0 => self.sized(max),
            _ => 1 + self.below(20),
        }
    }

    pub(crate) fn window(&mut self) -> Duration {
        Duration::from_micros(match self.below(4) {
            0 => self.sized(WINDOW_MAX.as_micros()),
            1 => 1 + self.below(50),
            _ => 1_000_000 * (1 + self.below(60)),
        })
    }

    pub(crate) fn policies(&mut self, (index, make): (usize, &Make)) -> Vec<Policy> {
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
    pub(crate) fn checks<'a>(
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

    pub(crate) fn action(&mut self) -> Action {
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
