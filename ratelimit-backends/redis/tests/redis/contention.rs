//! Calls that compare and swap, beside spenders on the same key.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use ratelimit_backend::BackendError;
use ratelimit_core::{Action, Micros, Policy, Receipt};
use ratelimit_redis::Redis;
use ratelimit_servers::{Fault, Proxy, Server, effort};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    store::{ask, check, settings, spend},
    store_behind_proxy::hourly,
};

/// The spenders' scripts always won: of twenty refunds beside 64 spenders three succeeded.
// FAULTS 212.
#[tokio::test(flavor = "multi_thread")]
async fn no_settle_penalty_or_block_is_lost_beside_spenders() {
    let Some(server) = Server::start(&[]) else { return };
    let redis = settings(&server.url()).connect().await.expect("the server is up");
    let policy = hourly(1_000_000_000);
    let (stop, spent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut spenders = JoinSet::new();
    for _ in 0..effort(256, 64) {
        let (redis, policy) = (redis.clone(), policy.clone());
        let (stop, spent) = (Arc::clone(&stop), Arc::clone(&spent));
        spenders.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let decision = spend(&redis, &policy, b"key", 1).await.expect("it decides");
                spent.fetch_add(u64::from(decision.is_allowed()), Ordering::Relaxed);
            }
        });
    }
    let mut others = JoinSet::new();
    for kind in [Kind::Settle, Kind::Penalize, Kind::Block] {
        let (redis, policy) = (redis.clone(), policy.clone());
        others.spawn(async move {
            for _ in 0..effort(10_000, 100) {
                kind.run(&redis, &policy).await.expect("it is not starved");
            }
        });
    }
    others.join_all().await;
    stop.store(true, Ordering::Relaxed);
    spenders.join_all().await;
    let peek = ask(&redis, &[check(&policy, b"key", 1)], Action::Peek).await;
    let charged = peek.expect("it decides")[0];
    let charged = charged.limit - charged.remaining;
    // Each settle has charged 3 and given 2 back; each penalty has charged 2.
    assert_eq!(charged, spent.load(Ordering::Relaxed) + 3 * effort(10_000, 100));
}

#[derive(Clone, Copy)]
enum Kind {
    Settle,
    Penalize,
    Block,
}

impl Kind {
    async fn run(self, redis: &Redis, policy: &Policy) -> Result<(), BackendError> {
        match self {
            Self::Settle => {
                let decision = loop {
                    let decision = spend(redis, policy, b"key", 3).await?;
                    if decision.is_allowed() {
                        break decision;
                    }
                };
                let check = check(policy, b"key", 2);
                let check = check.with_receipt(Some(Receipt::of(&decision, policy, 3)));
                ask(redis, &[check], Action::Refund).await.map(drop)
            }
            Self::Penalize => {
                ask(redis, &[check(policy, b"key", 2)], Action::Penalize).await.map(drop)
            }
            Self::Block => {
                let block = Action::Block(Micros::new(1));
                ask(redis, &[check(policy, b"key", 1)], block).await.map(drop)
            }
        }
    }
}

/// Its replies take so long that others have always spent between its read and its swap.
// FAULTS 212.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_far_away_is_not_starved_by_those_that_are_near() {
    let Some(server) = Server::start(&[]) else { return };
    let proxy = Proxy::start(server.port);
    let near = settings(&server.url()).connect().await.expect("the server is up");
    let far = settings(&proxy.url()).connect().await.expect("the server is up");
    proxy.set(Fault::Delay(Duration::from_millis(20)));
    let policy = hourly(1_000_000_000);
    let stop = Arc::new(AtomicBool::new(false));
    let spender = tokio::spawn({
        let (policy, stop) = (policy.clone(), Arc::clone(&stop));
        async move {
            while !stop.load(Ordering::Relaxed) {
                let _ = spend(&near, &policy, b"key", 1).await.expect("it decides");
            }
        }
    });
    let check = check(&policy, b"key", 1);
    for _ in 0..3 {
        let before = server.calls("type");
        let _ = ask(&far, &[check], Action::Penalize).await.expect("it decides");
        // A read and a swap in vain, and two that have the key reserved.
        assert!(server.calls("type") - before <= 4);
    }
    stop.store(true, Ordering::Relaxed);
    spender.await.expect("it decides");
}

/// A client that reserves a key and is never heard of again keeps others waiting for a second.
// FAULTS 212.
#[tokio::test]
async fn a_reservation_of_a_client_that_has_gone_ends() {
    let Some(server) = Server::start(&[]) else { return };
    let redis = settings(&server.url()).connect().await.expect("the server is up");
    let policy = hourly(100);
    let _ = spend(&redis, &policy, b"key", 1).await.expect("it decides");
    let key = &server.keys()[0];
    let reserve = "local time = redis.call('TIME')
        local until_ = time[1] * 1000000 + time[2] + 300000
        local mark = '\\0' .. struct.pack('>I7', until_) .. 'stranger'
        return redis.call('SET', KEYS[1], mark .. redis.call('GET', KEYS[1]), 'KEEPTTL')";
    server.cli(&["EVAL", reserve, "1", key]);
    let begun = Instant::now();
    // It is read meanwhile, and reset.
    let peek = ask(&redis, &[check(&policy, b"key", 1)], Action::Peek).await.expect("it decides");
    assert_eq!(peek[0].remaining, 99);
    let decision = spend(&redis, &policy, b"key", 1).await.expect("it decides in the end");
    assert_eq!(decision.remaining, 98);
    assert!(Duration::from_millis(200) < begun.elapsed(), "it was reserved");
    server.cli(&["EVAL", reserve, "1", key]);
    let begun = Instant::now();
    let _ = ask(&redis, &[check(&policy, b"key", 1)], Action::Penalize).await.expect("it decides");
    assert!(Duration::from_millis(200) < begun.elapsed(), "others that swap wait as well");
    server.cli(&["EVAL", reserve, "1", key]);
    let _ = ask(&redis, &[check(&policy, b"key", 1)], Action::Reset).await.expect("it forgets");
    assert_eq!(spend(&redis, &policy, b"key", 1).await.expect("it decides").remaining, 99);
}
