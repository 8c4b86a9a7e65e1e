//! Callers in line, beside a line on paper.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use proptest::prelude::*;
use ratelimit_algorithms::{Backend, ConfigError, Limiter, Limits, Micros, Names, Policy};
use ratelimit_backend::Reply;
use ratelimit_core::{
    Action, Batch, Check, Key,
    store::{Record, apply},
};
use tokio::task::{JoinHandle, yield_now};

use crate::{
    each_store::On,
    limits::{LIMIT, algorithm, any_algorithm, wait},
    time::{START, Time},
};

/// A caller: when it comes, what it wants, and when it gives up unless it has that by then.
#[derive(Clone, Debug)]
struct Caller {
    comes: u64,
    wants: Vec<Want>,
    gives_up: Option<u64>,
}

/// So many permits of a key, under one of two limits.
#[derive(Clone, Copy, Debug)]
struct Want {
    limit: usize,
    key: &'static str,
    cost: u64,
}

/// The queues of two limits, two keys each.
const PLACES: [(usize, &str); 4] = [(0, "a"), (0, "b"), (1, "a"), (1, "b")];

impl Want {
    fn place(&self) -> usize {
        PLACES.iter().position(|place| *place == (self.limit, self.key)).unwrap()
    }
}

/// Half of the callers want the permits of one key, the others of several at once.
fn wants() -> impl Strategy<Value = Vec<Want>> {
    let places = prop::sample::subsequence((0..PLACES.len()).collect::<Vec<_>>(), 1..=3);
    let places =
        prop_oneof![(0..PLACES.len()).prop_map(|place| vec![place]), places.prop_shuffle()];
    let want = |(place, cost): (usize, u64)| {
        let (limit, key) = PLACES[place];
        Want { limit, key, cost }
    };
    (places, prop::array::uniform3(1..=LIMIT / 2))
        .prop_map(move |(places, costs)| places.into_iter().zip(costs).map(want).collect())
}

fn callers() -> impl Strategy<Value = Vec<Caller>> {
    let caller = (wait(), wants(), prop::option::weighted(0.3, 0_u64..=5_000_000));
    let callers = prop::collection::vec(caller, 1..25);
    callers.prop_map(|callers| {
        let mut comes = 0;
        let caller = |(wait, wants, patience): (u64, Vec<Want>, Option<u64>)| {
            // An even microsecond; who gives up does so at an odd one, when nothing else happens.
            comes += wait / 2 * 2;
            let gives_up = patience.map(|patience| comes + patience / 2 * 2 + 1);
            Caller { comes, wants, gives_up }
        };
        callers.into_iter().map(caller).collect()
    })
}

/// First come, first served, over all keys that a caller waits for; each as soon as its turn has come
/// and its limits admit it. Who gives up is in nobody's way from then on.
pub(crate) fn who_waits_is_served_in_order_and_not_a_microsecond_late(on: &On) {
    let limits = [any_algorithm(), any_algorithm()];
    on.holds(&(limits, callers()), async |(numbers, callers)| {
        let policy = |number| Policy::new(&on.new_name(), algorithm(number, LIMIT)).unwrap();
        let policies = numbers.map(policy);
        let wanted = on_paper(&policies, &callers);
        let found = Line::new(on, policies).serve(&callers).await;
        prop_assert_eq!(found, wanted);
        Ok(())
    });
}

/// The instant at which each is served, if it is. What happens at one place does so in the order of the callers.
fn on_paper(policies: &[Policy; 2], callers: &[Caller]) -> Vec<Option<u64>> {
    let (mut records, mut free) = ([const { None }; 4], [0; 4]);
    let served = callers.iter().map(|caller| {
        let places: Vec<_> = caller.wants.iter().map(Want::place).collect();
        let start = places.iter().map(|&place| free[place]).max().unwrap().max(caller.comes);
        let served = on_paper_from(start, caller, policies, &mut records);
        for place in places {
            // Who gives up while others are before it has been first at some of its places.
            free[place] = served.or(caller.gives_up).unwrap().max(free[place]);
        }
        served
    });
    served.collect()
}

/// The instant at which a caller is served that is the first from `now` on.
fn on_paper_from(
    mut now: u64,
    caller: &Caller,
    policies: &[Policy; 2],
    records: &mut [Option<Record>; 4],
) -> Option<u64> {
    let check = |want: &Want| {
        Check::new(&policies[want.limit], Key::new(want.key).unwrap(), want.cost).unwrap()
    };
    let checks: Vec<_> = caller.wants.iter().map(check).collect();
    let batch = Batch::new(&checks).unwrap();
    let mut own: Vec<_> = caller.wants.iter().map(|want| records[want.place()].take()).collect();
    let served = loop {
        if caller.gives_up.is_some_and(|gives_up| gives_up <= now) {
            break None;
        }
        let decisions = apply(batch, Action::Spend, &mut own, START + Micros::new(now)).unwrap();
        match decisions.iter().map(|decision| decision.retry_after().as_micros()).max() {
            Some(0) => break Some(now),
            wait => now += wait.unwrap(),
        }
    };
    for (want, record) in caller.wants.iter().zip(own) {
        records[want.place()] = record;
    }
    served
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

/// Two limiters, and those who wait for them.
struct Line {
    limiters: [Limiter<Counting>; 2],
    asking: Arc<AtomicUsize>,
    time: Time,
    served: Arc<Mutex<Vec<Option<u64>>>>,
}

impl Line {
    fn new(on: &On, policies: [Policy; 2]) -> Self {
        let asking = Arc::<AtomicUsize>::default();
        let store = Counting { store: on.store.clone(), asking: asking.clone() };
        let limiter = |policy| Limiter::with_policies(store.clone(), policy).unwrap();
        let limiters = policies.map(limiter);
        Self { limiters, asking, time: on.time.clone(), served: Arc::default() }
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
                tasks.push(self.stand(tasks.len(), caller.wants.clone()));
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

    fn stand(&self, number: usize, wants: Vec<Want>) -> JoinHandle<()> {
        let Self { limiters, time, served, .. } = self;
        let (limiters, time, served) = (limiters.clone(), time.clone(), served.clone());
        tokio::spawn(async move {
            let [first, more @ ..] = &*wants else { unreachable!("everybody wants something") };
            let limiter = &limiters[first.limit];
            if more.is_empty() {
                limiter.until_ready(first.key).cost(first.cost).timer(&time).await.unwrap();
            } else {
                let limits = Limits::new(limiter, first.key, first.cost);
                let limits = more.iter().fold(limits, |limits, want| {
                    limits.and(&limiters[want.limit], want.key, want.cost)
                });
                limits.until_ready().timer(&time).await.unwrap();
            }
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
