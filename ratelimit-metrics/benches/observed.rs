//! What does watching add to a check in memory?
//!
//! `cargo bench -p ratelimit-metrics`: the least of many short runs of each, taken in turn, so
//! that what else the machine does hits all of them alike.

use std::{hint::black_box, time::Instant};

use ratelimit_algorithms::{Limiter, SyncBackend, TokenBucket};
use ratelimit_memory::Memory;
use ratelimit_metrics::{Event, Observed, Recorder, Statistics};

struct Nothing;

impl Recorder for Nothing {
    fn record(&self, event: &Event<'_>) {
        black_box(event);
    }
}

fn main() {
    let bare = limiter(Memory::new());
    let nothing = limiter(Observed::new(Memory::new(), Nothing));
    let statistics = limiter(Observed::new(Memory::new(), Statistics::new()));
    let mut least = [f64::MAX; 3];
    for _ in 0..ROUNDS {
        for (least, nanos) in
            least.iter_mut().zip([round(&bare), round(&nothing), round(&statistics)])
        {
            *least = least.min(nanos);
        }
    }
    let [bare, nothing, statistics] = least;
    println!("memory                         {bare:6.1} ns a check");
    println!("observed, nothing recorded     {nothing:6.1} ns, + {:.1}", nothing - bare);
    println!("observed, with statistics      {statistics:6.1} ns, + {:.1}", statistics - bare);
}

fn limiter<B: SyncBackend>(store: B) -> Limiter<B> {
    Limiter::new(store, "api", TokenBucket::per_second(1000)).expect("the numbers are good")
}

fn round<B: SyncBackend>(limiter: &Limiter<B>) -> f64 {
    let begin = Instant::now();
    for _ in 0..CHECKS {
        black_box(limiter.check(black_box("user:000042")).now().is_ok());
    }
    begin.elapsed().as_secs_f64() * 1e9 / f64::from(CHECKS)
}

const ROUNDS: u32 = 200;
const CHECKS: u32 = 20_000;
