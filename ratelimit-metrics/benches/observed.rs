//! The cost of recorders beside a bare check in memory, on one thread and on two.
//!
//! `cargo bench -p ratelimit-metrics --all-features`: the least of many short runs of each, taken in
//! turn, so that whatever else the machine does meets all of them. Each thread has a key of its own.

use std::{hint::black_box, num::NonZeroUsize, sync::Barrier, thread, time::Instant};

use ratelimit_algorithms::{Limiter, SyncBackend, TokenBucket};
use ratelimit_memory::Memory;
use ratelimit_metrics::{
    Buffered, Event, MetricsFacade, Observed, Ranking, Recorder, Statistics, TopKeys, TracingLog,
};

struct Nothing;

impl Recorder for Nothing {
    fn record(&self, event: &Event<'_>) {
        black_box(event);
    }
}

/// A run of checks on so many threads; returns nanoseconds for a check, as a thread sees it.
type Run = Box<dyn Fn(usize) -> f64>;

fn main() -> std::io::Result<()> {
    let size = NonZeroUsize::new(1000).expect("it is not zero");
    let rows: [(&str, Run); 7] = [
        ("bare", run(Memory::new())),
        ("Observed, nothing recorded", observed(Nothing)),
        ("Statistics", observed(Statistics::new())),
        ("TopKeys::new(Requests, 1000)", observed(TopKeys::new(Ranking::Requests, size))),
        ("MetricsFacade, no exporter", observed(MetricsFacade::new())),
        ("TracingLog, no subscriber", observed(TracingLog::new())),
        ("Buffered::new(Nothing, 1000)", observed(Buffered::new(Nothing, size)?)),
    ];
    let mut least = [[f64::MAX; 2]; 7];
    for _ in 0..ROUNDS {
        for (least, (_, run)) in least.iter_mut().zip(&rows) {
            for (threads, least) in (1..).zip(least) {
                *least = least.min(run(threads));
            }
        }
    }
    println!("| ns a check | 1 thread | 2 threads |\n|---|---|---|");
    for ((name, _), [one, two]) in rows.iter().zip(least) {
        println!("| {name} | {one:.0} | {two:.0} |");
    }
    Ok(())
}

fn observed(recorder: impl Recorder + 'static) -> Run {
    run(Observed::new(Memory::new(), recorder))
}

fn run<B: SyncBackend + 'static>(store: B) -> Run {
    let limiter = Limiter::new(store, "api", TokenBucket::per_second(1000));
    let limiter = limiter.expect("the numbers are good");
    Box::new(move |threads| {
        let barrier = Barrier::new(threads);
        let check = |thread: usize| {
            let key = format!("user:{thread:06}");
            barrier.wait();
            let begin = Instant::now();
            for _ in 0..CHECKS {
                black_box(limiter.check(black_box(key.as_str())).now().is_ok());
            }
            begin.elapsed().as_secs_f64() * 1e9 / f64::from(CHECKS)
        };
        thread::scope(|scope| {
            let check = &check;
            let threads: Vec<_> =
                (0..threads).map(|thread| scope.spawn(move || check(thread))).collect();
            let times = threads.into_iter().map(|thread| thread.join().unwrap_or(f64::NAN));
            times.fold(0.0, f64::max)
        })
    })
}

const ROUNDS: u32 = 100;
const CHECKS: u32 = 20_000;
