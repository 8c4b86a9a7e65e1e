//! Callers in line, beside a line on paper.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use proptest::prelude::*;
use ratelimit_algorithms::{Backend, ConfigError, Limiter, Micros, Names, Policy};
use ratelimit_backend::Reply;
use ratelimit_core::{Action, Batch, Check, Key, store::apply};
use tokio::task::{JoinHandle, yield_now};

use crate::{
    on::On,
    rules::{LIMIT, algorithm, any_algorithm, wait},
    time::{START, Time},
};

/// A caller: when it comes, what it wants, and when it gives up unless it has that by then.
#[derive(Clone, Copy, Debug)]
struct Caller {
    comes: u64,
    cost: u64,
    gives_up: Option<u64>,
}

fn callers() -> impl Strategy<Value = Vec<Caller>> {
    let caller = (wait(), 1..=LIMIT / 2, prop::option::weighted(0.3, 0_u64..=5_000_000));
    let callers = prop::collection::vec(caller, 1..25);
    callers.prop_map(|callers| {
        let mut comes = 0;
        let caller = |(wait, cost, patience): (u64, u64, Option<u64>)| {
            // An even microsecond; who gives up does so at an odd one, when nothing else happens.
            comes += wait / 2 * 2;
            let gives_up = patience.map(|patience| comes + patience / 2 * 2 + 1);
            Caller { comes, cost, gives_up }
        };
        callers.into_iter().map(caller).collect()
    })
}

/// First come, first served; each as soon as its turn has come and the limit admits it. Who gives
/// up is in nobody's way from then on.
pub(crate) fn who_waits_is_served_in_order_and_not_a_microsecond_late(on: &On) {
    on.holds(&(any_algorithm(), callers()), async |(number, callers)| {
        let policy = Policy::new(&on.new_name(), algorithm(number, LIMIT)).unwrap();
        let wanted = on_paper(&policy, &callers);
        let found = Line::new(on, policy).serve(&callers).await;
        prop_assert_eq!(found, wanted);
        Ok(())
    });
}

/// The instant at which each is served, if it is.
fn on_paper(policy: &Policy, callers: &[Caller]) -> Vec<Option<u64>> {
    let (mut record, mut free) = ([None], 0);
    let served = callers.iter().map(|caller| {
        let mut now = caller.comes.max(free);
        let is_gone = |then: u64| caller.gives_up.is_some_and(|gives_up| gives_up <= then);
        if is_gone(now) {
            return None;
        }
        let check = Check::new(policy, Key::new("key").unwrap(), caller.cost).unwrap();
        loop {
            let at = START + Micros::new(now);
            let decision = apply(Batch::one(&check), Action::Spend, &mut record, at).unwrap()[0];
            if decision.is_allowed() {
                free = now;
                return Some(now);
            }
            now += decision.retry_after().as_micros();
            if is_gone(now) {
                free = caller.gives_up?;
                return None;
            }
        }
    });
    served.collect()
}

/// A store that knows how many it has yet to answer.
#[derive(Clone)]
struct Counting {
    store: Arc<dyn Backend>,
    asking: Arc<AtomicUsize>,
}

impl Backend for Counting {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        Reply::waiting(async move {
            self.asking.fetch_add(1, Ordering::Relaxed);
            let answer = self.store.apply(batch, action).await;
            self.asking.fetch_sub(1, Ordering::Relaxed);
            answer
        })
    }

    fn names(&self) -> &Names {
        self.store.names()
    }

    fn accepts(&self, policy: &Policy) -> Result<(), ConfigError> {
        self.store.accepts(policy)
    }
}

/// A limiter, and those who wait for it.
struct Line {
    limiter: Limiter<Counting>,
    asking: Arc<AtomicUsize>,
    time: Time,
    served: Arc<Mutex<Vec<Option<u64>>>>,
}

impl Line {
    fn new(on: &On, policy: Policy) -> Self {
        let asking = Arc::<AtomicUsize>::default();
        let store = Counting { store: on.store.clone(), asking: asking.clone() };
        let limiter = Limiter::with_policies(store, policy).unwrap();
        Self { limiter, asking, time: on.time.clone(), served: Arc::default() }
    }

    /// The instant at which each was served, if it was.
    async fn serve(self, callers: &[Caller]) -> Vec<Option<u64>> {
        *self.served.lock().unwrap() = vec![None; callers.len()];
        let events = callers.iter().flat_map(|caller| [Some(caller.comes), caller.gives_up]);
        let mut events: BTreeSet<u64> = events.flatten().collect();
        let mut tasks: Vec<JoinHandle<()>> = Vec::new();
        self.time.set(Micros::ZERO);
        while let Some(now) = self.next(&mut events) {
            self.time.set(Micros::new(now));
            self.rest().await;
            for caller in callers[tasks.len()..].iter().take_while(|caller| caller.comes <= now) {
                tasks.push(self.stand(tasks.len(), caller.cost));
                self.rest().await;
            }
            for (task, caller) in tasks.iter().zip(callers) {
                if caller.gives_up == Some(now) {
                    task.abort();
                }
            }
            self.rest().await;
        }
        self.served.lock().unwrap().clone()
    }

    /// The next instant at which something happens.
    fn next(&self, events: &mut BTreeSet<u64>) -> Option<u64> {
        events.extend(self.time.next().map(Micros::as_micros));
        events.pop_first()
    }

    fn stand(&self, number: usize, cost: u64) -> JoinHandle<()> {
        let Self { limiter, time, served, .. } = self;
        let (limiter, time, served) = (limiter.clone(), time.clone(), served.clone());
        tokio::spawn(async move {
            limiter.until_ready("key").cost(cost).timer(&time).await.unwrap();
            served.lock().unwrap()[number] = Some(time.since_start().as_micros());
        })
    }

    /// Lets everyone go on until all of them wait for time to pass.
    async fn rest(&self) {
        let mut quiet = 0;
        while quiet < QUIET {
            yield_now().await;
            quiet = if self.asking.load(Ordering::Relaxed) == 0 { quiet + 1 } else { 0 };
        }
    }
}

/// So often everybody has had a turn, from the answer of the one to the question of the next.
const QUIET: usize = 4;
