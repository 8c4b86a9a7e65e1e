//! Leases of real stores: what is held goes back when the last clone is dropped, and takes of different keys
//! share commands.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{num::NonZeroUsize, time::Duration};

use ratelimit_algorithms::{Backend, Limiter, Source, TokenBucket};
use ratelimit_backend::{ManualClock, Names, Reply};
use ratelimit_core::{Action, Batch, Micros, Timestamp};
use ratelimit_lease::{LeaseLength, Leased};
use ratelimit_memory::Memory;
use ratelimit_redis::{Redis, RedisSettings};
use ratelimit_resilience::{DenyCache, Resilient};
use ratelimit_servers::Server;
use ratelimit_sqlite::SqliteSettings;
use tokio::task::yield_now;

const KEYS: [&str; 3] = ["one", "another", "a third"];
const KEYS_MAX: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();
const LIMIT: u64 = 10_000;

/// It stands still, so that nothing comes back but what is given back.
fn clock() -> ManualClock {
    ManualClock::new(Timestamp::EPOCH + Micros::from_secs(1_700_000_000))
}

fn memory(clock: &ManualClock) -> Memory<ManualClock> {
    Memory::with_clock(clock.clone(), KEYS_MAX)
}

async fn redis(server: &Server, clock: &ManualClock) -> Redis {
    let settings = RedisSettings::new(&server.url()).unwrap().with_clock(clock.clone());
    settings.with_deadline(Duration::from_secs(10)).connect().await.unwrap()
}

fn leased<B: Backend>(store: B, clock: &ManualClock) -> Leased<B, ManualClock> {
    Leased::with_clock(store, LeaseLength::share(0.01).unwrap(), clock.clone(), KEYS_MAX)
}

fn limiter<B: Backend>(store: B) -> Limiter<B> {
    Limiter::new(store, "api", TokenBucket::per_minute(LIMIT)).unwrap()
}

/// Checks each key until a lease decides. Returns the number of checks of each, all of which are admitted.
async fn make_hot<B: Backend>(limiter: &Limiter<B>) -> [u64; KEYS.len()] {
    let mut checks = [0; KEYS.len()];
    for (key, checks) in KEYS.iter().zip(&mut checks) {
        while limiter.check(key).await.unwrap().source() != Source::Lease {
            *checks += 1;
            // For takes that run beside the requests.
            yield_now().await;
        }
        *checks += 1;
    }
    checks
}

/// Leases permits of several keys, and drops them. Returns what remains in the store then, and what would if
/// nothing but the requests had been charged.
async fn lease_and_drop<B: Backend + Clone + 'static>(
    store: &B,
    clock: &ManualClock,
) -> [Vec<u64>; 2] {
    let leased = leased(store.clone(), clock);
    let checks = make_hot(&limiter(leased.clone())).await;
    let stats = leased.stats();
    assert!(3 < stats.leased, "{stats:?}");
    drop(leased);
    let direct = limiter(store.clone());
    let wanted = checks.map(|checks| LIMIT - checks).to_vec();
    let mut remaining = Vec::new();
    // Takes that were under way come to their end, and what nobody awaits does.
    for _ in 0..ROUNDS_MAX {
        remaining.clear();
        for key in KEYS {
            remaining.push(direct.peek(key).await.unwrap().remaining);
        }
        if remaining == wanted {
            break;
        }
        yield_now().await;
    }
    [remaining, wanted]
}

const ROUNDS_MAX: usize = 10_000;

#[tokio::test]
async fn permits_of_a_store_in_memory_go_back_when_the_last_clone_is_dropped() {
    let clock = clock();
    let [remaining, wanted] = lease_and_drop(&memory(&clock), &clock).await;
    assert_eq!(remaining, wanted);
    let cached = DenyCache::with_clock(memory(&clock), clock.clone(), KEYS_MAX);
    let wrapped = Resilient::with_clock(cached, clock.clone());
    let [remaining, wanted] = lease_and_drop(&wrapped, &clock).await;
    assert_eq!(remaining, wanted);
}

#[tokio::test]
async fn permits_of_a_store_in_a_file_go_back_by_its_thread() {
    let clock = clock();
    let store = SqliteSettings::in_memory().with_clock(clock.clone()).open().unwrap();
    let [remaining, wanted] = lease_and_drop(&store, &clock).await;
    assert_eq!(remaining, wanted);
}

#[tokio::test]
async fn permits_of_a_store_elsewhere_go_back_by_a_task() {
    let Some(server) = Server::start(&[]) else { return };
    let clock = clock();
    let [remaining, wanted] = lease_and_drop(&redis(&server, &clock).await, &clock).await;
    assert_eq!(remaining, wanted);
}

/// A store that has to be awaited, and has nobody to do it.
#[derive(Clone)]
struct Awaited(Memory<ManualClock>);

impl Backend for Awaited {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        Reply::waiting(async move { self.0.apply(batch, action).await })
    }

    fn names(&self) -> &Names {
        self.0.names()
    }
}

#[tokio::test]
async fn permits_of_a_store_that_has_to_be_awaited_lapse_unless_they_are_given_back_first() {
    let clock = clock();
    let store = Awaited(memory(&clock));
    let [remaining, wanted] = lease_and_drop(&store, &clock).await;
    assert!(remaining.iter().zip(&wanted).all(|(remaining, wanted)| remaining < wanted));

    let store = Awaited(memory(&clock));
    let leased = leased(store.clone(), &clock);
    let checks = make_hot(&limiter(leased.clone())).await;
    yield_now().await;
    assert_eq!(leased.close().await, leased.stats().leased - KEYS.len() as u64);
    for (key, checks) in KEYS.iter().zip(checks) {
        let remaining = limiter(store.clone()).peek(key).await.unwrap().remaining;
        assert_eq!(remaining, LIMIT - checks);
    }
}

/// All refills are due at one instant, and of different sizes.
#[tokio::test]
async fn refills_of_many_keys_at_once_are_a_few_commands() {
    let Some(server) = Server::start(&[]) else { return };
    let clock = clock();
    let store = leased(redis(&server, &clock).await, &clock);
    let limiter = limiter(store.clone());
    let keys: Vec<_> = (0..REFILLS).map(|number| format!("key {number}")).collect();
    for (number, key) in (0..).zip(&keys) {
        let _ = limiter.check(key).cost(20 + number % 7).await.unwrap();
        while limiter.check(key).await.unwrap().source() != Source::Lease {
            yield_now().await;
        }
    }
    server.cli(&["CONFIG", "RESETSTAT"]);
    let before = store.stats();
    for key in &keys {
        // No task runs meanwhile.
        while limiter.check(key).if_ready().is_some() {}
    }
    for key in &keys {
        while limiter.check(key).if_ready().is_none() {
            yield_now().await;
        }
    }
    let stats = store.stats();
    let taken = stats.leased - before.leased;
    let commands = server.calls("evalsha") + server.calls("eval");
    println!("{REFILLS} takes, of {taken} permits, in {commands} commands");
    assert_eq!(stats.round_trips, before.round_trips + REFILLS);
    assert_eq!(stats.lapsed, 0, "{stats:?}");
    assert!(commands < REFILLS / 4, "{commands} commands for {REFILLS} takes");
}

const REFILLS: u64 = 64;
