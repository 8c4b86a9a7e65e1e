//! A breaker over a store that fails on cue, in the states that tests begin with.

use ratelimit_backend::{Effect, ErrorKind, ManualClock};
use ratelimit_core::Micros;
use ratelimit_resilience::{Breaker, CircuitState::Open};

use crate::faulty::{Answer, Cue, Faulty, clock, hourly, spend};

pub(crate) const DOWN: Cue = Cue::Fail(ErrorKind::Unavailable);

/// A breaker of a known seed over a store that fails on cue.
pub(crate) struct Rig {
    pub(crate) breaker: Breaker<Faulty, ManualClock>,
    pub(crate) store: Faulty,
    pub(crate) clock: ManualClock,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let clock = clock();
        let store = Faulty::new(&clock);
        let breaker = Breaker::with_clock(store.clone(), clock.clone()).with_seed(1);
        Self { breaker, store, clock }
    }

    /// A rig whose circuit has opened, over a store that is back.
    pub(crate) fn open() -> Self {
        let rig = Self::new();
        rig.store.cue([DOWN; 5]);
        rig.fail(5);
        assert_eq!(rig.breaker.state(), Open);
        rig
    }

    /// A rig whose pause is over, too.
    pub(crate) fn due() -> Self {
        let rig = Self::open();
        rig.clock.advance(Micros::from_millis(100));
        rig
    }

    pub(crate) fn spend(&self) -> Answer {
        spend(&self.breaker, &hourly("api", 1_000_000), "key")
    }

    pub(crate) fn fail(&self, times: u32) {
        for _ in 0..times {
            assert!(self.spend().is_err());
        }
    }

    /// Returns true if the breaker answers by itself: at once, and nothing is charged.
    pub(crate) fn refuses(&self) -> bool {
        let (asked, refused) = (self.store.asked(), self.breaker.refused());
        let answer = self.spend();
        let is_refusal = (asked, refused + 1) == (self.store.asked(), self.breaker.refused());
        if is_refusal {
            let error = answer.expect_err("nobody was asked");
            assert_eq!(
                (error.kind(), error.effect()),
                (ErrorKind::Unavailable, Effect::NotApplied)
            );
            let source = error.cause().map(ToString::to_string);
            assert_eq!(source.as_deref(), Some("circuit breaker is open"));
        }
        is_refusal
    }
}
