//! Callers that wait for several limits as one.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use ratelimit_algorithms::{
    AcquireError, Error, FixedWindow, LeakyBucket, Limiter, Limits, Live, TokenBucket, WaitError,
};
use ratelimit_memory::Memory;
use tokio::{
    task::{JoinHandle, yield_now},
    time::Instant,
};

use crate::{Slow, polled, waiting};

/// Two limits on one store, of one permit each 100 ms and of one each second, and none is left.
#[derive(Clone)]
struct Pair {
    calls: Limiter<Slow>,
    tokens: Limiter<Slow>,
    served: Arc<Mutex<Vec<&'static str>>>,
}

impl Pair {
    async fn spent() -> Self {
        let store = Slow::new();
        let limiter = |name, bucket| Limiter::new(store.clone(), name, bucket).unwrap();
        let calls = limiter("calls", TokenBucket::per_second(10));
        let tokens = limiter("tokens", TokenBucket::per(10, Duration::from_secs(10)));
        let pair = Self { calls, tokens, served: Arc::default() };
        let both = Limits::new(&pair.calls, "a", 10).and(&pair.tokens, "a", 10);
        assert!(both.check().await.unwrap().is_allowed());
        pair
    }

    fn both(&self, calls: u64, tokens: u64) -> Limits<'_, Slow> {
        Limits::new(&self.calls, "a", calls).and(&self.tokens, "a", tokens)
    }

    /// Waits for both limits, and then writes its name down.
    fn stand(&self, name: &'static str, calls: u64, tokens: u64) -> JoinHandle<()> {
        let pair = self.clone();
        tokio::spawn(async move {
            pair.both(calls, tokens).until_ready().await.unwrap();
            pair.served.lock().unwrap().push(name);
        })
    }

    fn stand_for_a_call(&self, name: &'static str) -> JoinHandle<()> {
        let pair = self.clone();
        tokio::spawn(async move {
            pair.calls.until_ready("a").await.unwrap();
            pair.served.lock().unwrap().push(name);
        })
    }

    async fn left(&self) -> [u64; 2] {
        let (calls, tokens) = (self.calls.peek("a").await, self.tokens.peek("a").await);
        [calls.unwrap().remaining, tokens.unwrap().remaining]
    }

    fn nobody_waits(&self) -> bool {
        waiting(&self.calls, 0) && waiting(&self.tokens, 0)
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_cost_of_several_limits_is_not_overtaken() {
    let (pair, start) = (Pair::spent().await, Instant::now());
    let mut tasks = vec![pair.stand("large", 1, 5)];
    yield_now().await;
    // Calls are there after 100 ms, but the first one waits for tokens until 5 s.
    tasks.push(pair.stand_for_a_call("call"));
    tasks.push(pair.stand("small", 1, 1));
    tasks.push(pair.stand_for_a_call("last"));
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*pair.served.lock().unwrap(), ["large", "call", "small", "last"]);
    assert_eq!(start.elapsed(), Duration::from_secs(6));
    assert!(pair.nobody_waits());
}

#[tokio::test(start_paused = true)]
async fn whatever_the_order_in_which_limits_are_named_nobody_waits_for_each_other() {
    let (pair, start) = (Pair::spent().await, Instant::now());
    let task = |turned: bool| {
        let pair = pair.clone();
        tokio::spawn(async move {
            let limits = match turned {
                true => Limits::new(&pair.tokens, "a", 1).and(&pair.calls, "a", 1),
                false => pair.both(1, 1),
            };
            limits.until_ready().await.map(drop).unwrap();
        })
    };
    for task in [false, true, false, true, true, false].map(task) {
        task.await.unwrap();
    }
    assert_eq!(start.elapsed(), Duration::from_secs(6));
    assert!(pair.nobody_waits());
}

#[tokio::test(start_paused = true)]
async fn keys_of_one_limiter_are_waited_for_as_one() {
    let (pair, start) = (Pair::spent().await, Instant::now());
    let limits = || Limits::new(&pair.calls, "a", 1).and(&pair.calls, "b", 1);
    limits().and(&pair.calls, "a", 2).until_ready().await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_millis(300), "a key named twice counts twice");
    limits().until_ready().await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_millis(400));
    assert!(pair.nobody_waits());
}

// FAULTS 56.
#[tokio::test(start_paused = true)]
async fn a_wait_for_several_that_is_dropped_at_any_poll_has_spent_all_or_nothing() {
    for polls in 0..14 {
        let pair = Pair::spent().await;
        let before = pair.stand("before", 1, 1);
        yield_now().await;
        let dropped = polled(pair.both(1, 1).until_ready(), polls).await.is_none();
        pair.stand("after", 1, 1).await.unwrap();
        before.await.unwrap();
        assert_eq!(*pair.served.lock().unwrap(), ["before", "after"]);
        assert!(pair.nobody_waits(), "{polls} polls, {dropped}");
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(pair.left().await, [10, 10], "{polls} polls");
    }
    let (pair, mut outcomes) = (Pair::spent().await, Vec::new());
    for polls in 0..14 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let outcome = polled(pair.both(2, 3).until_ready(), polls).await;
        let left = pair.left().await;
        assert!(left == [8, 7] || (outcome.is_none() && left == [10, 10]), "{polls}: {left:?}");
        assert!(pair.nobody_waits());
        outcomes.push(left == [8, 7]);
    }
    assert!(outcomes.contains(&true) && outcomes.contains(&false));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_counts_for_all_limits_together() {
    let (pair, start) = (Pair::spent().await, Instant::now());
    let within = |millis| pair.both(1, 2).until_ready().within(Duration::from_millis(millis));
    let error = within(1_999).await.unwrap_err();
    assert!(matches!(&error, WaitError::DeniedTogether(decision) if decision.bound() == 1));
    assert_eq!(error.to_string(), "rate limit tokens exceeded, retry after 2s");
    assert_eq!(start.elapsed(), Duration::ZERO, "at once");

    let large = pair.stand("large", 1, 3);
    yield_now().await;
    assert!(matches!(within(1_999).await, Err(WaitError::DeniedTogether(_))), "nor behind others");
    assert_eq!(start.elapsed(), Duration::ZERO);
    let behind = within(2_500).await;
    assert!(matches!(behind, Err(WaitError::TimedOut)), "{behind:?}");
    assert_eq!(start.elapsed(), Duration::from_millis(2_500));
    large.await.unwrap();
    within(2_000).await.expect("exactly in time");
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    assert!(pair.nobody_waits());
}

// FAULTS 58.
#[tokio::test(start_paused = true)]
async fn one_limiter_with_too_many_waiters_is_enough_to_refuse() {
    let mut pair = Pair::spent().await;
    pair.tokens = pair.tokens.with_waiters_max(1);
    let first = pair.stand("first", 1, 1);
    yield_now().await;
    let refused = pair.both(1, 1).until_ready().await;
    assert!(matches!(refused, Err(WaitError::Overloaded)), "{refused:?}");
    assert!(waiting(&pair.calls, 1) && waiting(&pair.tokens, 1), "and it left no trace");
    pair.calls.until_ready("b").await.unwrap();
    first.await.unwrap();
}

/// A caller that waits for both limits for a day is served as soon as the second one has room.
#[tokio::test(start_paused = true)]
async fn an_update_a_reset_and_a_refund_of_any_limit_wake_who_waits_for_several() {
    for change in ["update", "reset", "refund", "settle"] {
        let store = Slow::new();
        let live = Live::new("daily", FixedWindow::per_day(5)).unwrap();
        let daily = Limiter::with_policies(store.clone(), live.clone()).unwrap();
        let burst = Limiter::new(store, "burst", TokenBucket::per_second(10)).unwrap();
        let spent = daily.acquire("key").cost(5).await.unwrap().into_owned();
        let start = Instant::now();
        let wait = tokio::spawn({
            let (burst, daily) = (burst.clone(), daily.clone());
            async move {
                let limits = Limits::new(&burst, "key", 1).and(&daily, "key", 3);
                limits.until_ready().await.map(drop)
            }
        });
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!wait.is_finished(), "{change}");
        match change {
            "update" => live.update(FixedWindow::per_day(8)).unwrap(),
            "reset" => drop(daily.reset("key").await.unwrap()),
            "refund" => drop(daily.refund("key").cost(3).await.unwrap()),
            _ => spent.settle(2).await.unwrap(),
        }
        wait.await.unwrap().unwrap();
        // A few milliseconds are what tokio's timer rounds up.
        assert!(start.elapsed() < Duration::from_millis(110), "{change}: {:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn limits_that_can_never_admit_or_are_apart_fail_at_once() {
    let (pair, start) = (Pair::spent().await, Instant::now());
    let error = pair.both(1, 11).until_ready().await.unwrap_err();
    assert!(matches!(error, WaitError::Failed(Error::Cost(_))), "{error:?}");
    let other = Limiter::new(Slow::new(), "other", TokenBucket::per_second(1)).unwrap();
    let error = pair.both(1, 1).and(&other, "a", 1).until_ready().await.unwrap_err();
    assert!(matches!(error, WaitError::Failed(Error::DifferentStores)), "{error:?}");
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(pair.nobody_waits());
}

#[tokio::test(start_paused = true)]
async fn several_limits_are_paced_by_the_slowest() {
    let store = Slow::new();
    let queue = |rate| LeakyBucket::per_second(rate).queue(Duration::from_secs(1));
    let fast = Limiter::new(store.clone(), "fast", queue(10)).unwrap();
    let slow = Limiter::new(store, "slow", queue(2)).unwrap();
    let start = Instant::now();
    let pace = || Limits::new(&fast, "key", 1).and(&slow, "key", 1).pace();
    pace().await.unwrap();
    let permits = pace().await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_millis(500));
    permits.refund().await.unwrap();
    let (second, third, denied) = tokio::join!(pace(), pace(), async {
        yield_now().await;
        yield_now().await;
        yield_now().await;
        pace().await
    });
    second.and(third).unwrap();
    assert!(matches!(denied, Err(AcquireError::DeniedTogether(_))), "{denied:?}");
}

/// A thread waits for several limits as a task does.
#[test]
fn a_thread_waits_for_several() {
    let store = Memory::new();
    let burst = Limiter::new(store.clone(), "burst", TokenBucket::per_second(1_000).burst(1));
    let daily = Limiter::new(store, "daily", FixedWindow::per_day(2));
    let (burst, daily) = (burst.unwrap(), daily.unwrap());
    let both = || Limits::new(&burst, "key", 1).and(&daily, "key", 1);
    both().until_ready().wait().unwrap();
    both().until_ready().wait().unwrap().settle([1, 0]).now().unwrap();
    both().pace().wait().unwrap_err();
    both().until_ready().within(Duration::from_secs(60)).wait().unwrap();
    let denied = both().until_ready().within(Duration::from_secs(60)).wait();
    assert!(matches!(denied, Err(WaitError::DeniedTogether(_))), "{denied:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_wake_up_is_lost_between_callers_that_share_some_of_their_keys() {
    let store = Memory::new();
    let limiter = |name| {
        let bucket = TokenBucket::per_second(20_000).burst(1);
        Limiter::new(store.clone(), name, bucket).unwrap()
    };
    let limiters = Arc::new([limiter("one"), limiter("two"), limiter("three")]);
    let wait = |number: usize| {
        let limiters = limiters.clone();
        tokio::spawn(async move {
            for round in 0..20 {
                let [one, two, three] = &*limiters;
                let limits = match number % 3 {
                    0 => Limits::new(one, "a", 1).and(two, "b", 1),
                    1 => Limits::new(three, "c", 1).and(two, "b", 1).and(one, "b", 1),
                    _ => Limits::new(two, "a", 1).and(one, "a", 1).and(three, "c", 1),
                };
                // Every fourth gives up, some at once and some in the middle.
                let polls = if number.is_multiple_of(4) { round % 4 } else { usize::MAX };
                let wait = polled(limits.until_ready(), polls).await;
                drop(wait.transpose().expect("there is no deadline"));
            }
        })
    };
    let all = async {
        for wait in (0..48).map(wait).collect::<Vec<_>>() {
            wait.await.unwrap();
        }
    };
    let bound = Duration::from_secs(120);
    tokio::time::timeout(bound, all).await.expect("nobody waits for ever");
}

#[test]
fn a_wait_for_several_may_be_sent_to_another_thread() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let limiter = Limiter::new(Memory::new(), "test", TokenBucket::per_second(1)).unwrap();
    let limits = || Limits::new(&limiter, "a", 1).and(&limiter, "b", 1);
    drop((is_send(limits().until_ready()), is_send(limits().pace())));
    drop(is_send(limits().until_ready().within(Duration::ZERO)));
    drop(is_send(limits().acquire().now().unwrap().into_owned()));
}
