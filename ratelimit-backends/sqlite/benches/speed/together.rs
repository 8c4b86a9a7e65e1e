//! Many async callers at once, each of which waits for its answers.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use ratelimit_algorithms::AsyncLimiter;
use tokio::{runtime::Runtime, task};

use crate::{
    by_hand::ByHand,
    file::{Files, PLENTY, keys, open},
    row::{Effort, Reach, Row, Samples},
};

pub(crate) fn rows<const CALLERS: usize>(name: &str, effort: Effort) -> Vec<Row> {
    let runtime = Runtime::new().unwrap();
    let (files, keys) = (Files::new(), Arc::new(keys()));
    let limiter = AsyncLimiter::from(open(&files.ours(), PLENTY));
    let by_hand = Arc::new(Mutex::new(ByHand::open(&files.theirs(), PLENTY as f64)));
    let ask_ours = {
        let keys = Arc::clone(&keys);
        move |key: usize| {
            let (limiter, keys) = (limiter.clone(), Arc::clone(&keys));
            async move { limiter.check(&keys[key]).await.unwrap().is_allowed() }
        }
    };
    let ask_theirs = move |key: usize| {
        let (by_hand, keys) = (Arc::clone(&by_hand), Arc::clone(&keys));
        let check = move || by_hand.lock().unwrap().check(&keys[key]);
        async move { task::spawn_blocking(check).await.unwrap() }
    };

    let (mut ours, mut theirs) = (Pair::default(), Pair::default());
    for _ in 0..effort.rounds {
        ours.push(runtime.block_on(crowd(CALLERS, effort.length, &ask_ours)));
        theirs.push(runtime.block_on(crowd(CALLERS, effort.length, &ask_theirs)));
    }
    let beside = "the same by hand, in spawn_blocking, under a mutex";
    let row = |suffix: &str, unit, ours, theirs, reach| Row {
        name: format!("{name}{suffix}"),
        unit,
        ours,
        beside,
        theirs,
        reach,
    };
    vec![
        row("", "decisions/s", ours.rate, theirs.rate, Reach::Ratio(3.0)),
        row(", p99", "ms", ours.p99, theirs.p99, Reach::Below(10.0)),
    ]
}

#[derive(Default)]
struct Pair {
    rate: Samples,
    p99: Samples,
}

impl Pair {
    fn push(&mut self, (rate, p99): (f64, f64)) {
        self.rate.push(rate);
        self.p99.push(p99);
    }
}

/// Decisions a second, and the 99th percentile of how long one takes, in milliseconds.
async fn crowd<F>(
    callers: usize,
    length: Duration,
    ask: &(impl Fn(usize) -> F + Clone + Send + 'static),
) -> (f64, f64)
where
    F: Future<Output = bool> + Send,
{
    let start = Instant::now();
    let tasks = (0..callers).map(|caller| {
        let ask = ask.clone();
        tokio::spawn(async move {
            let mut lengths = Vec::new();
            while start.elapsed() < length {
                let asked = Instant::now();
                assert!(ask((caller + lengths.len() * callers) % 1_000).await);
                lengths.push(asked.elapsed());
            }
            lengths
        })
    });
    let mut lengths = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        lengths.extend(task.await.unwrap());
    }
    let rate = lengths.len() as f64 / start.elapsed().as_secs_f64();
    lengths.sort_unstable();
    (rate, lengths[lengths.len() * 99 / 100].as_secs_f64() * 1e3)
}
