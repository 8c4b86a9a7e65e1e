//! Permits in flight are waited for in order, whoever gives one back.

use std::time::Duration;

use ratelimit_algorithms::{InFlight, Limiter, Limits, TokenBucket, WaitError};
use tokio::time::{Instant, sleep};

use crate::Slow;

/// Other waits than those of one limiter: as of another process, which nobody wakes.
fn twins() -> [Limiter<Slow>; 2] {
    let store = Slow::new();
    [(); 2].map(|()| Limiter::new(store.clone(), "calls", InFlight::limit(1)).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_another_process_gives_back_is_soon_noticed() {
    let [here, elsewhere] = twins();
    let start = Instant::now();
    let held = elsewhere.acquire("key").await.unwrap();
    let waiting = tokio::spawn(async move { here.until_ready("key").await.map(drop) });
    sleep(Duration::from_secs(3)).await;
    held.refund().await.unwrap();
    waiting.await.unwrap().unwrap();
    let late = start.elapsed() - Duration::from_secs(3);
    assert!(late <= Duration::from_millis(100), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_before_a_permit_lapses_is_waited_for() {
    let [here, elsewhere] = twins();
    let start = Instant::now();
    let held = elsewhere.acquire("key").await.unwrap();
    let longest = Duration::from_millis(1_050);
    let denied = here.until_ready("key").within(longest).await;
    assert!(matches!(denied, Err(WaitError::Denied(_))), "{denied:?}");
    assert_eq!(start.elapsed(), longest);
    held.refund().await.unwrap();
    here.until_ready("key").within(longest).await.unwrap().refund().await.unwrap();
    assert_eq!(start.elapsed(), longest);
}

#[tokio::test(start_paused = true)]
async fn permits_and_rates_are_waited_for_until_both_have_room() {
    let [calls, _] = twins();
    let store = calls.backend().clone();
    let rate = Limiter::new(store, "rate", TokenBucket::per_hour(3_600).burst(1)).unwrap();
    let start = Instant::now();
    let both = || Limits::new(&calls, "key", 1).and(&rate, "key", 1);
    let first = both().acquire().await.unwrap();
    let in_time = both().until_ready().within(Duration::from_millis(999)).await;
    assert!(in_time.is_err(), "the rate would not have room, whoever gives a permit back");
    assert_eq!(start.elapsed(), Duration::ZERO);
    let (second, released) = tokio::join!(both().until_ready(), async {
        sleep(Duration::from_millis(200)).await;
        first.settle([1, 1]).await
    });
    released.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    second.unwrap().settle([1, 1]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_come_on_in_the_order_in_which_they_came() {
    let [limiter, _] = twins();
    let held = limiter.acquire("key").await.unwrap();
    let (order, mut came) = tokio::sync::mpsc::unbounded_channel();
    for number in 0..10 {
        let (limiter, order) = (limiter.clone(), order.clone());
        tokio::spawn(async move {
            let permit = limiter.until_ready("key").await.unwrap();
            order.send(number).unwrap();
            sleep(Duration::from_millis(10)).await;
            permit.refund().await.unwrap();
        });
        tokio::task::yield_now().await;
    }
    held.refund().await.unwrap();
    for number in 0..10 {
        assert_eq!(came.recv().await, Some(number));
    }
}
