//! Limits that change under way, beside the core's own arithmetic.

use proptest::prelude::*;
use ratelimit_algorithms::{CarryOver, Clock, Limiter, Live, Micros};
use ratelimit_core::{
    Action, Batch, Check, Key,
    store::{Record, apply},
};

use crate::{
    each_store::On,
    limits::{algorithm, any_algorithm, wait},
};

/// An event, some time after the one before.
#[derive(Clone, Copy, Debug)]
enum Event {
    Check { share: u64 },
    Refund { share: u64 },
    Update { limit: u64 },
}

pub(crate) fn changed_limits_decide_as_the_core_does(on: &On) {
    let rule =
        prop::sample::select(vec![CarryOver::AsIs, CarryOver::Proportional, CarryOver::Reset]);
    let events = prop::collection::vec((wait(), event()), 1..40);
    let key = Key::new("key").unwrap();
    on.holds(&(any_algorithm(), rule, events), async |(number, rule, events)| {
        let name = on.new_name();
        let live = Live::new(&name, algorithm(number, 10)).unwrap().with_carry_over(rule);
        let limiter = Limiter::with_policies(on.store.clone(), live.clone()).unwrap();
        let mut record: Option<Record> = None;
        for (wait, event) in events {
            on.time.clock.advance(Micros::new(wait));
            let policy = live.current();
            let (action, share) = match event {
                Event::Update { limit } => {
                    live.update(algorithm(number, limit)).unwrap();
                    continue;
                }
                Event::Check { share } => (Action::Spend, share),
                Event::Refund { share } => (Action::Refund, share),
            };
            let cost = 1 + share % policy.limit();
            let check = Check::new(&policy, key, cost).unwrap();
            let found = match action {
                // Whole decisions are compared.
                Action::Refund => on.store.apply(Batch::one(&check), action).await.unwrap()[0],
                _ => limiter.check("key").cost(cost).await.unwrap(),
            };
            let mut records = [record.take()];
            let now = on.time.clock.now().unwrap();
            let wanted = apply(Batch::one(&check), action, &mut records, now).unwrap();
            [record] = records;
            prop_assert_eq!(found, wanted[0]);
        }
        Ok(())
    });
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => any::<u64>().prop_map(|share| Event::Check { share }),
        1 => any::<u64>().prop_map(|share| Event::Refund { share }),
        2 => (1_u64..=30).prop_map(|limit| Event::Update { limit }),
    ]
}
