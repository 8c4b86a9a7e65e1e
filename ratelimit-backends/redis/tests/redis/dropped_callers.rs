//! Callers that go away before they have their answer.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use ratelimit_redis::RedisSettings;
use ratelimit_servers::{Fault, effort};
use tokio::{
    runtime::Handle,
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    store::spend,
    store_behind_proxy::{QUARTER, Scene},
};

/// A millisecond each way, so that calls are dropped before the command is on its way,
/// while it is, and while its answer is.
// FAULTS 57.
#[tokio::test]
async fn a_check_that_is_dropped_at_any_poll_is_charged_once_or_never_and_not_late() {
    let Some(scene) = Scene::new().await else { return };
    scene.proxy.set(Fault::Delay(Duration::from_millis(1)));
    let connections = scene.proxy.accepted();
    let tasks = Handle::current().metrics().num_alive_tasks();

    let (mut started, mut answered) = (0, 0);
    for round in 0..effort(10_000, 500) / AT_ONCE {
        let mut calls = JoinSet::new();
        for call in 0..AT_ONCE {
            let (redis, policy) = (scene.redis.clone(), scene.policy.clone());
            let (polls, held) = (call % 4, Duration::from_micros(100 * (round as u64 % 40)));
            calls.spawn(async move {
                let check = spend(&redis, &policy, b"key", 1);
                let answer = polled(check, polls, held).await;
                (u64::from(0 < polls), u64::from(answer.is_some_and(|answer| answer.is_ok())))
            });
        }
        for (begun, allowed) in calls.join_all().await {
            (started, answered) = (started + begun, answered + allowed);
        }
    }
    assert!(0 < answered && answered < started, "{answered} answered of {started}");

    let begun = Instant::now();
    while Handle::current().metrics().num_alive_tasks() != tasks {
        assert!(begun.elapsed() < Duration::from_secs(10), "no task is left");
        sleep(Duration::from_millis(5)).await;
    }
    let charged = scene.charged().await;
    assert!(answered <= charged && charged <= started, "{answered} {charged} {started}");
    // What the server had got by then it does within the deadline.
    sleep(QUARTER).await;
    assert_eq!(scene.charged().await, charged, "no charge is late");
    assert_eq!(scene.proxy.accepted(), connections, "no connection is lost for it");
    println!("{started} begun, {answered} answered, {charged} charged");
}

/// It waited in a queue, and was sent when there was a connection again.
// FAULTS 57.
#[tokio::test]
async fn a_check_that_is_dropped_while_the_server_is_gone_is_never_charged() {
    let Some(scene) = Scene::new().await else { return };
    scene.proxy.set(Fault::BlackHole);
    for polls in 0..100 {
        let check = spend(&scene.redis, &scene.policy, b"key", 1);
        assert!(
            polled(check, polls % 3, Duration::ZERO).await.is_none_or(|answer| answer.is_err())
        );
    }
    // The store's own time has to pass: until the deadline of the last check is over.
    sleep(2 * QUARTER).await;
    scene.proxy.set(Fault::None);
    assert_eq!(scene.recover().await.remaining, scene.policy.limit() - 1);
}

/// Those that nobody waits for any more give back their places among those under way.
// FAULTS 57.
#[tokio::test]
async fn a_check_that_is_dropped_takes_no_place_for_good() {
    let ten = 10.try_into().expect("ten is not zero");
    let alone = 1.try_into().expect("one is not zero");
    let few = |settings: RedisSettings| settings.with_queue_max(ten).with_group_max(alone);
    let Some(scene) = Scene::with(few).await else { return };
    for _ in 0..30 {
        let check = spend(&scene.redis, &scene.policy, b"key", 1);
        let _ = polled(check, 1, Duration::ZERO).await;
        // The one that was dropped has a reply, too.
        let _ = scene.spend().await.expect("there is room");
    }
    assert!((30..=60).contains(&scene.charged().await), "once or never, those that were dropped");
}

/// Polls a future so many times, holds it for a while, and drops it; what it has answered until
/// then.
async fn polled<T>(future: impl Future<Output = T>, times: usize, held: Duration) -> Option<T> {
    let mut future = pin!(future);
    let mut polls = 0;
    let answer = poll_fn(|context| {
        while polls < times {
            polls += 1;
            if let Poll::Ready(answer) = future.as_mut().poll(context) {
                return Poll::Ready(Some(answer));
            }
            if polls < times {
                return Poll::Pending;
            }
        }
        Poll::Ready(None)
    });
    let answer = answer.await;
    sleep(held).await;
    answer
}

const AT_ONCE: usize = 50;
