//! Charging estimates and settling them, beside charges that were right from the start.

use std::sync::Arc;

use proptest::prelude::*;
use ratelimit_algorithms::{Backend, Limits, Micros, Permit, Permits};

use crate::{
    each_store::On,
    limits::{LIMIT, algorithm, any_algorithm, wait},
};

type Store = Arc<dyn Backend>;
type Limiter = ratelimit_algorithms::Limiter<Store>;

/// A charge, some time after the one before; what it comes to, and so many charges later that is
/// known.
#[derive(Clone, Copy, Debug)]
struct Step {
    wait: u64,
    cost: u64,
    actual: u64,
    later: usize,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (wait(), 1..=LIMIT / 2, 0..=LIMIT / 2, 0_usize..6);
    let step = step.prop_map(|(wait, cost, actual, later)| {
        // One permit is the least that a charge can have been from the start.
        Step { wait, cost, actual: actual.clamp(1, cost), later }
    });
    prop::collection::vec(step, 1..30)
}

fn limiter(on: &On, number: usize) -> Limiter {
    Limiter::new(on.store.clone(), &on.new_name(), algorithm(number, LIMIT)).unwrap()
}

/// Had each charge been what it was settled for from the start, everything that was admitted would
/// have been admitted then, too.
pub(crate) fn permits_that_are_settled_for_less_mint_nothing(on: &On) {
    on.holds(&(any_algorithm(), steps()), async |(number, steps)| {
        let (limiter, exact) = (limiter(on, number), limiter(on, number));
        let mut held: Vec<(usize, Permit<'_, Store>, u64)> = Vec::new();
        let (mut now, mut admitted) = (0, Vec::new());
        on.time.set(Micros::ZERO);
        for (index, step) in steps.into_iter().enumerate() {
            now += step.wait;
            on.time.set(Micros::new(now));
            let due = held.extract_if(.., |(due, ..)| *due <= index);
            for (_, permit, actual) in due.collect::<Vec<_>>() {
                permit.settle(actual).await.unwrap();
            }
            if let Ok(permit) = limiter.acquire("key").cost(step.cost).await {
                held.push((index + step.later, permit, step.actual));
                admitted.push((now, step.actual));
            }
        }
        for (_, permit, actual) in held {
            permit.settle(actual).await.unwrap();
        }
        let left = limiter.peek("key").await.unwrap().remaining;
        for (then, cost) in admitted {
            on.time.set(Micros::new(then));
            let decision = exact.check("key").cost(cost).await.unwrap();
            prop_assert!(decision.is_allowed(), "{cost} at {then}: {decision:?}");
        }
        on.time.set(Micros::new(now));
        let exact = exact.peek("key").await.unwrap().remaining;
        prop_assert!(left <= exact, "{left} are left of {exact}");
        Ok(())
    });
}

/// Two limits that are charged as one and settled as one stand as two that are settled apart.
pub(crate) fn several_permits_are_settled_as_each_alone(on: &On) {
    // Who is refunded has still been admitted, which an adaptive hybrid remembers.
    let numbers = (0_usize..5, 0_usize..5);
    on.holds(&(numbers, steps()), async |((first, second), steps)| {
        let together = [limiter(on, first), limiter(on, second)];
        let apart = [limiter(on, first), limiter(on, second)];
        for Step { wait, cost, actual, .. } in steps {
            on.time.clock.advance(Micros::new(wait));
            let limits = Limits::new(&together[0], "key", 1).and(&together[1], "key", cost);
            let permits = limits.acquire().await;
            let alone =
                (apart[0].peek("key").await.unwrap(), apart[1].acquire("key").cost(cost).await);
            let (peek, Ok(one)) = alone else {
                prop_assert!(permits.is_err());
                continue;
            };
            if !peek.is_allowed() {
                one.refund().await.unwrap();
                prop_assert!(permits.is_err());
                continue;
            }
            let other = apart[0].acquire("key").await.unwrap();
            permits.unwrap().settle([0, actual]).await.unwrap();
            other.refund().await.unwrap();
            one.settle(actual).await.unwrap();
            for (together, apart) in together.iter().zip(&apart) {
                let found = together.peek("key").await.unwrap();
                prop_assert_eq!(found, apart.peek("key").await.unwrap());
            }
        }
        Ok(())
    });
}

/// The same of several that are charged as one, in whatever order they are settled, under two
/// algorithms: each limit stands as if its part had been right from the start.
pub(crate) fn several_that_are_settled_in_any_order_mint_nothing(on: &On) {
    let numbers = (any_algorithm(), any_algorithm());
    on.holds(&(numbers, steps()), async |((first, second), steps)| {
        let limiters = [limiter(on, first), limiter(on, second)];
        let exact = [limiter(on, first), limiter(on, second)];
        let mut held: Vec<(usize, Permits<'static, Store>, [u64; 2])> = Vec::new();
        let (mut now, mut admitted) = (0, Vec::new());
        on.time.set(Micros::ZERO);
        for (index, Step { wait, cost, actual, later }) in steps.into_iter().enumerate() {
            now += wait;
            on.time.set(Micros::new(now));
            let due = held.extract_if(.., |(due, ..)| *due <= index);
            for (_, permits, actual) in due.collect::<Vec<_>>() {
                permits.settle(actual).await.unwrap();
            }
            let limits = Limits::new(&limiters[0], "key", cost).and(&limiters[1], "key", cost + 1);
            if let Ok(permits) = limits.acquire().await {
                let actual = [actual, (actual + 1).min(cost)];
                held.push((index + later, permits.into_owned(), actual));
                admitted.push((now, actual));
            }
        }
        while !held.is_empty() {
            let (_, permits, actual) = held.swap_remove(held.len() / 2);
            permits.settle(actual).await.unwrap();
        }
        for (index, (limiter, exact)) in limiters.iter().zip(&exact).enumerate() {
            let left = limiter.peek("key").await.unwrap().remaining;
            for (then, actual) in &admitted {
                on.time.set(Micros::new(*then));
                let decision = exact.check("key").cost(actual[index]).await.unwrap();
                prop_assert!(decision.is_allowed(), "{actual:?} at {then}: {decision:?}");
            }
            on.time.set(Micros::new(now));
            let exact = exact.peek("key").await.unwrap().remaining;
            prop_assert!(left <= exact, "{left} are left of {exact}");
        }
        Ok(())
    });
}
