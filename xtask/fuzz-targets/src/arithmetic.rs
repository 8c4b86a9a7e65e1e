//! Every decision agrees with that of the model, which computes with integers of any size.

use std::iter;

use ratelimit_core::{Action, LIMIT_MAX, WINDOW_MAX, adaptive::Scope, fixed_window::Align};

use crate::{
    agreement::agrees_with_the_model,
    rule::{Adaptive, Rule},
    trace::{Step, Wait},
};

/// Takes the bytes for a policy and what happens to a key of it.
pub fn arithmetic(data: &[u8]) {
    let mut numbers = Numbers(data);
    let (rule, start) = (numbers.rule(), numbers.sized(1 << 51));
    if rule.algorithm().is_err() {
        return;
    }
    let history = (start, iter::from_fn(|| numbers.step()).take(STEPS_MAX).collect());
    if let Err(difference) = agrees_with_the_model(&rule, &history) {
        panic!("{difference}\n{rule:?}\n{history:?}");
    }
}

/// As many as the crate's own tests take.
const STEPS_MAX: usize = 32;

/// Numbers drawn from bytes; zeros where there are no more.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn rule(&mut self) -> Rule {
        let window_max = WINDOW_MAX.as_micros();
        let (kind, limit) = (self.below(6), 1 + self.sized(LIMIT_MAX - 1));
        let (window, rate) = (1 + self.sized(window_max - 1), 1 + self.sized(LIMIT_MAX - 1));
        let (capacity, period) = (limit, window);
        match kind {
            0 => {
                let align = if self.below(2) == 0 { Align::Epoch } else { Align::First };
                Rule::FixedWindow { limit, window, align }
            }
            1 => {
                let entries_max = 1 + self.sized(999_999);
                Rule::SlidingWindowLog { limit, window, entries_max }
            }
            2 => Rule::SlidingWindowCounter { limit, window },
            3 => {
                let initial = self.sized(capacity);
                Rule::TokenBucket { capacity, refill: rate, period, initial }
            }
            4 => {
                let longest_delay = (self.below(2) == 0).then(|| self.sized(window_max));
                Rule::LeakyBucket { capacity, leak: rate, period, longest_delay }
            }
            _ => Rule::Adaptive(self.adaptive()),
        }
    }

    /// Small bursts only, since the model spends them permit by permit.
    fn adaptive(&mut self) -> Adaptive {
        let scope = if self.below(2) == 0 { Scope::PerKey } else { Scope::Shared };
        let window = 1 + self.sized(100_000_000_000);
        let numbers = Adaptive::new(1 + self.below(12), window, scope);
        let low = self.parts(1_500_000);
        Adaptive {
            multiplier: 100_000 + self.parts(2_900_000),
            adaptive_window: 1 + self.sized(20 * window),
            high: low + 1 + self.parts(800_000),
            low,
            penalty: self.parts(1_000_000),
            ..numbers
        }
    }

    /// The next step; none where there are no more bytes.
    fn step(&mut self) -> Option<Step> {
        if self.0.is_empty() {
            return None;
        }
        let action = match self.below(8) {
            0 => Action::Peek,
            1 => Action::Refund,
            2 => Action::Reset,
            3 => Action::Take,
            _ => Action::Spend,
        };
        let wait = match self.below(8) {
            0 => Wait::Back(self.sized(5_000_000)),
            1 => Wait::Retry { early: self.below(2) },
            2 => Wait::Reset { early: self.below(2) },
            3 => Wait::Edge { late: self.below(3) },
            4 => Wait::Micros(self.below(6)),
            _ => Wait::Share(self.sized(3_000_000)),
        };
        Some(Step { wait, action, share: self.sized(1_000_000) })
    }

    fn parts(&mut self, most: u32) -> u32 {
        u32::try_from(self.sized(most.into())).unwrap_or(most)
    }

    /// Of any order of magnitude.
    fn sized(&mut self, most: u64) -> u64 {
        let bytes = self.below(9);
        (0..bytes).fold(0, |number, _| number << 8 | self.byte()).min(most)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.byte() % bound
    }

    fn byte(&mut self) -> u64 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte.into()
    }
}
