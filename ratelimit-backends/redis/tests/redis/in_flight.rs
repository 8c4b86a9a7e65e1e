//! Permits in flight of many tasks on one server: given back by whatever ends their work.

use std::{sync::Arc, time::Duration};

use ratelimit_algorithms::{InFlight, Limiter, Limits, TokenBucket};
use ratelimit_redis::Redis;
use ratelimit_servers::{Server, effort};
use tokio::task::{JoinSet, yield_now};

use crate::store::connect;

const LIMIT: u64 = 4;

/// Asks the server until it says so: a permit that is dropped is given back by a task.
async fn becomes_free(limiter: &Limiter<Redis>, key: &str) {
    let free = async { while limiter.peek(key).await.expect("it answers").remaining < LIMIT {} };
    tokio::time::timeout(Duration::from_secs(20), free).await.expect("all are given back");
}

#[tokio::test]
async fn a_permit_that_is_dropped_is_given_back() {
    let Some(server) = Server::start(&[]) else { return };
    let calls = Limiter::new(connect(&server).await, "calls", InFlight::limit(LIMIT)).unwrap();
    let permit = calls.acquire("key").cost(3).await.unwrap();
    assert!(permit.extend().await.unwrap());
    drop(permit);
    becomes_free(&calls, "key").await;
    calls.run("key", async || ()).await.unwrap();
    becomes_free(&calls, "key").await;
}

/// A tenth is cancelled amid the acquisition or the work.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_tasks_that_hang_up_nothing_stays_held() {
    let Some(server) = Server::start(&[]) else { return };
    let redis = connect(&server).await;
    let rate = TokenBucket::per_second(1_000_000);
    let calls = Arc::new(Limiter::new(redis.clone(), "calls", InFlight::limit(LIMIT)).unwrap());
    let rate = Arc::new(Limiter::new(redis, "rate", rate).unwrap());
    let mut tasks = JoinSet::new();
    for number in 0..effort(10_000, 1_000) {
        let (calls, rate) = (Arc::clone(&calls), Arc::clone(&rate));
        let key = (number % 50).to_string();
        let task = tasks.spawn(async move {
            let both = Limits::new(&*calls, &key, 1).and(&*rate, &key, 1);
            let permits = both.until_ready().await.expect("the server answers");
            yield_now().await;
            permits.keep();
        });
        if number % 10 == 0 {
            yield_now().await;
            task.abort();
        }
    }
    while let Some(ended) = tasks.join_next().await {
        assert!(ended.is_ok() || ended.is_err_and(|error| error.is_cancelled()));
    }
    for key in 0..50 {
        becomes_free(&calls, &key.to_string()).await;
    }
}
