//! Callers that wait for the permits of one key.

use std::{
    pin::pin,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use ratelimit_algorithms::{
    AcquireError, Align, Error, FixedWindow, LeakyBucket, Limiter, Limits, Live, Policies, Policy,
    Tier, Tiers, TokenBucket, WaitError,
};
use ratelimit_memory::Memory;
use tokio::{
    task::{JoinHandle, yield_now},
    time::Instant,
};

use crate::{Slow, polled, waiting};

/// One permit each 100 ms, of which none is left.
async fn spent() -> Limiter<Slow> {
    let limiter = Limiter::new(Slow::new(), "test", TokenBucket::per_second(10));
    let limiter = limiter.expect("the numbers are good");
    let spent = limiter.check("key").cost(10).await.expect("the store answers");
    assert!(spent.is_allowed());
    limiter
}

type Served = Arc<Mutex<Vec<usize>>>;

/// Waits as the `number`th in line, and then writes that down.
fn stand(limiter: &Limiter<Slow>, served: &Served, number: usize) -> JoinHandle<()> {
    let (limiter, served) = (limiter.clone(), served.clone());
    tokio::spawn(async move {
        limiter.until_ready("key").await.expect("there is no deadline");
        served.lock().expect("nobody has panicked").push(number);
    })
}

// FAULTS 231.
#[tokio::test(start_paused = true)]
async fn who_came_first_is_served_first() {
    let (limiter, served, start) = (spent().await, Served::default(), Instant::now());
    let tasks: Vec<_> = (0..20).map(|number| stand(&limiter, &served, number)).collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!((0..20).eq(served.lock().unwrap().iter().copied()));
    assert_eq!(start.elapsed(), Duration::from_secs(2), "one each 100 ms");
    assert!(waiting(&limiter, 0));
}

// FAULTS 58.
#[tokio::test(start_paused = true)]
async fn who_is_cancelled_gives_up_the_place_wherever_it_is() {
    for position in 0..6 {
        for passed in 0..6 {
            let (limiter, served, start) = (spent().await, Served::default(), Instant::now());
            let tasks: Vec<_> = (0..6).map(|number| stand(&limiter, &served, number)).collect();
            tokio::time::sleep(Duration::from_millis(100 * passed + 50)).await;
            tasks[position].abort();
            for task in tasks {
                let _ = task.await;
            }
            let was_served = (position as u64) < passed;
            let expected = (0..6).filter(|&number| was_served || number != position);
            assert!(expected.eq(served.lock().unwrap().iter().copied()));
            // The others wait until the last of them has a permit, we until the abort.
            let last = 100 * (5 + u64::from(was_served));
            let end = Duration::from_millis(last.max(100 * passed + 50));
            assert_eq!(start.elapsed(), end, "nobody waits longer");
            assert!(waiting(&limiter, 0));
        }
    }
}

// FAULTS 56.
#[tokio::test(start_paused = true)]
async fn a_wait_that_is_dropped_at_any_poll_has_spent_one_permit_or_none() {
    for polls in 0..12 {
        let (limiter, served) = (spent().await, Served::default());
        let before = stand(&limiter, &served, 0);
        yield_now().await;
        let dropped = polled(limiter.until_ready("key"), polls);
        let (dropped, ()) = tokio::join!(dropped, async {
            yield_now().await;
            stand(&limiter, &served, 2).await.unwrap();
        });
        before.await.unwrap();
        assert_eq!(*served.lock().unwrap(), [0, 2]);
        assert!(waiting(&limiter, 0));

        tokio::time::sleep(Duration::from_secs(1)).await;
        let left = limiter.peek("key").await.unwrap();
        assert_eq!(left.remaining, 10, "{polls} polls, {dropped:?}");
    }
    let (limiter, mut spent_some) = (spent().await, false);
    for polls in 0..12 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let outcome = polled(limiter.until_ready("key"), polls).await;
        let left = limiter.peek("key").await.unwrap().remaining;
        assert!(left == 9 || (outcome.is_none() && left == 10), "{polls} polls: {left} left");
        spent_some |= left == 9;
    }
    assert!(spent_some);
}

// FAULTS 58.
#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_wait_for_one_key_and_one_more_is_too_many() {
    let bucket = TokenBucket::per_second(1_000_000).burst(1_000);
    let limiter = Limiter::new(Slow::new(), "test", bucket).unwrap();
    let limiter = limiter.with_waiters_max(100_000);
    assert!(limiter.check("key").cost(1_000).await.unwrap().is_allowed());
    let served = Served::default();
    let tasks: Vec<_> = (0..100_000).map(|number| stand(&limiter, &served, number)).collect();
    while !waiting(&limiter, 100_000) {
        yield_now().await;
    }
    let start = Instant::now();
    assert!(matches!(limiter.until_ready("key").await, Err(WaitError::Overloaded)));
    assert!(matches!(limiter.until_ready("other").await, Err(WaitError::Overloaded)));
    assert_eq!(start.elapsed(), Duration::ZERO, "at once");

    tasks.iter().skip(1).step_by(3).for_each(JoinHandle::abort);
    for task in tasks {
        let _ = task.await;
    }
    let expected = (0..100_000).filter(|number| number % 3 != 1);
    let served = served.lock().unwrap();
    assert!(expected.eq(served.iter().copied()), "{} were served", served.len());
    assert!(waiting(&limiter, 0));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_cannot_end_in_time_says_so_at_once() {
    let (limiter, start) = (spent().await, Instant::now());
    let within = |cost, millis| {
        let limiter = limiter.clone();
        async move {
            let longest = Duration::from_millis(millis);
            limiter.until_ready("key").cost(cost).within(longest).await.map(drop)
        }
    };
    let error = within(5, 499).await.unwrap_err();
    assert!(matches!(&error, WaitError::Denied(decision) if !decision.is_allowed()));
    assert_eq!(error.to_string(), "rate limit exceeded, retry after 500ms");

    let first = tokio::spawn(within(5, 500));
    yield_now().await;
    assert!(matches!(within(2, 199).await, Err(WaitError::Denied(_))), "nor behind others");
    assert_eq!(start.elapsed(), Duration::ZERO);
    first.await.unwrap().expect("exactly in time");
    assert_eq!(start.elapsed(), Duration::from_millis(500));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_a_wait_behind_others() {
    let (limiter, start) = (spent().await, Instant::now());
    let first = tokio::spawn({
        let limiter = limiter.clone();
        async move { limiter.until_ready("key").cost(10).await.map(drop) }
    });
    yield_now().await;
    let second = limiter.until_ready("key").within(Duration::from_millis(300)).await;
    assert!(matches!(second, Err(WaitError::TimedOut)), "{second:?}");
    assert_eq!(start.elapsed(), Duration::from_millis(300));
    assert!(waiting(&limiter, 1));
    first.await.unwrap().unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(1));
}

/// Two callers wait for permits of the next hour, until `change` makes room for both.
async fn assert_woken<P: Policies + Clone + 'static>(
    policies: P,
    change: impl AsyncFnOnce(Limiter<Slow, P>),
) {
    let limiter = Limiter::with_policies(Slow::new(), policies).expect("the name is free");
    let permits = limiter.acquire("key").cost(2).await.expect("nobody has spent");
    let start = Instant::now();
    let wait = || {
        let limiter = limiter.clone();
        tokio::spawn(async move { limiter.until_ready("key").await.map(drop) })
    };
    let waits = [wait(), wait()];
    tokio::time::sleep(Duration::from_millis(100)).await;
    permits.keep();
    change(limiter.clone()).await;
    for wait in waits {
        wait.await.expect("it does not panic").expect("there is room");
    }
    // A few milliseconds are what tokio's timer rounds up.
    assert!(start.elapsed() < Duration::from_millis(110), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_change_that_makes_room_wakes_the_first_and_those_behind() {
    let few = || TokenBucket::per_hour(2);
    let many = || TokenBucket::per_hour(1_000_000_000);
    let policy = || Policy::new("test", few()).unwrap();
    assert_woken(policy(), async |limiter| _ = limiter.reset("key").await.unwrap()).await;
    assert_woken(policy(), async |limiter| _ = limiter.refund("key").cost(2).await.unwrap()).await;
    let live = Live::new("test", few()).unwrap();
    assert_woken(live.clone(), async |_| live.update(many()).unwrap()).await;
    let tiers = Tiers::new("test", few()).unwrap();
    let tier = tiers.in_tier(Tier::DEFAULT);
    assert_woken(tier, async |_| tiers.update(Tier::DEFAULT, many()).unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_is_given_back_wakes_who_waits_for_it() {
    let limiter = Limiter::new(Slow::new(), "test", TokenBucket::per_hour(2)).unwrap();
    let start = Instant::now();
    let wait = || {
        let limiter = limiter.clone();
        tokio::spawn(async move { limiter.until_ready("key").await.map(drop) })
    };
    let permit = limiter.acquire("key").cost(2).await.unwrap();
    let waits = [wait(), wait()];
    tokio::time::sleep(Duration::from_millis(100)).await;
    permit.settle(1).await.unwrap();
    let [first, second] = waits;
    first.await.unwrap().unwrap();

    limiter.reset("key").await.unwrap();
    second.await.unwrap().unwrap();
    limiter.reset("key").await.unwrap();
    let permits = Limits::new(&limiter, "key", 2).acquire().await.unwrap();
    let third = wait();
    tokio::time::sleep(Duration::from_millis(100)).await;
    permits.refund().await.unwrap();
    third.await.unwrap().unwrap();
    assert_eq!(start.elapsed(), Duration::from_millis(200));
}

/// Without it the thread would sleep for a day.
#[test]
fn a_thread_that_waits_wakes_too() {
    let window = FixedWindow::per_day(1).align(Align::First);
    let limiter = Limiter::new(Memory::new(), "test", window).unwrap();
    let permit = limiter.acquire("key").now().unwrap().refund_on_drop();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| limiter.until_ready("key").wait());
        while !format!("{limiter:?}").contains("WaitQueues(1 waiting)") {
            std::thread::yield_now();
        }
        drop(permit);
        waiting.join().unwrap().unwrap();
    });
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_store_ends_the_wait_of_everyone() {
    let store = Slow::new();
    let limiter = Limiter::new(store.clone(), "test", TokenBucket::per_second(1)).unwrap();
    assert!(limiter.check("key").await.unwrap().is_allowed());
    let wait = || {
        let limiter = limiter.clone();
        tokio::spawn(async move { limiter.until_ready("key").await.map(drop) })
    };
    let waits = [wait(), wait(), wait()];
    yield_now().await;
    store.is_broken.store(true, Ordering::Relaxed);
    for wait in waits {
        let error = wait.await.unwrap().unwrap_err();
        assert!(matches!(error, WaitError::Failed(Error::Backend(_))), "{error:?}");
        assert_eq!(error.retry_after(), None);
    }
    store.is_broken.store(false, Ordering::Relaxed);
    assert!(waiting(&limiter, 0));
    tokio::time::sleep(Duration::from_secs(1)).await;
    limiter.until_ready("key").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_cost_that_never_fits_does_not_wait() {
    let limiter = spent().await;
    let error = limiter.until_ready("key").cost(11).await.unwrap_err();
    assert!(matches!(error, WaitError::Failed(Error::Cost(_))), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn keys_do_not_wait_for_each_other() {
    let (limiter, start) = (spent().await, Instant::now());
    let mut hindered = pin!(limiter.until_ready("key"));
    assert!(polled(hindered.as_mut(), 2).await.is_none());
    limiter.until_ready("other").await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_paced_key_goes_on_evenly() {
    let queue = LeakyBucket::per_second(10).queue(Duration::from_millis(250));
    let limiter = Limiter::new(Slow::new(), "test", queue).unwrap();
    let start = Instant::now();
    let pace = |_| {
        let limiter = limiter.clone();
        tokio::spawn(async move { limiter.pace("key").await.map(|_| start.elapsed().as_millis()) })
    };
    let (mut instants, mut denied) = (Vec::new(), 0);
    for call in (0..4).map(pace).collect::<Vec<_>>() {
        match call.await.unwrap() {
            Ok(instant) => instants.push(instant),
            Err(AcquireError::Denied(_)) => denied += 1,
            Err(error) => panic!("{error}"),
        }
    }
    instants.sort_unstable();
    assert_eq!(instants, [0, 100, 200]);
    assert_eq!(denied, 1, "it would have to wait for 300 ms");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_wake_up_is_lost_where_many_come_and_go() {
    let limiter = Limiter::new(Memory::new(), "test", TokenBucket::per_second(5_000).burst(1));
    let limiter = limiter.unwrap();
    let wait = |number: usize| {
        let limiter = limiter.clone();
        tokio::spawn(async move {
            for round in 0..10 {
                let wait = limiter.until_ready("key");
                // Every third gives up, some at once and some in the middle.
                let polls = if number.is_multiple_of(3) { round % 4 } else { usize::MAX };
                polled(wait, polls).await.transpose().expect("there is no deadline");
            }
        })
    };
    let waits: Vec<_> = (0..64).map(wait).collect();
    let all = async {
        for wait in waits {
            wait.await.unwrap();
        }
    };
    let bound = Duration::from_secs(120);
    tokio::time::timeout(bound, all).await.expect("nobody waits for ever");
}

#[test]
fn a_wait_may_be_sent_to_another_thread() {
    fn is_send(_: &impl Send) {}
    let limiter = Limiter::new(Memory::new(), "test", TokenBucket::per_second(1)).unwrap();
    is_send(&limiter.until_ready("key"));
    is_send(&limiter.until_ready("key").within(Duration::ZERO));
    is_send(&limiter.pace("key"));
}
