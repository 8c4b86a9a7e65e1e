//! Calls on a key whose log is long, and on another key meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use fastrand::Rng;
use ratelimit_backend::ManualClock;
use ratelimit_core::{Action, Check, Micros, Policy, Receipt, sliding_window_log};
use ratelimit_servers::effort;
use tokio::time::{Instant, sleep};

use crate::stores::{NAMES, Store, Stores, apply, check, percentile, standing};

// FAULTS 213.
#[tokio::test(flavor = "multi_thread")]
async fn calls_on_long_logs_leave_other_keys_alone() {
    let Some(stores) = Stores::start(Duration::from_secs(10)) else { return };
    println!(
        "the longest of {ROUNDS} calls; and of the checks of another key, 99 of 100, before and meanwhile"
    );
    println!("store   entries    check   settle  penalty    block  blocked   change | other key");
    for name in NAMES {
        for entries in effort(&[1_000, 10_000, 100_000, 1_000_000][..], &[1_000]) {
            let clock = standing();
            let store = stores.open_at(name, &clock).await;
            let log = Log::new(*entries);
            if let Err(refused) = store.accepts(&log.policy) {
                println!("{name:7} {entries:>7} refused: {refused}");
                continue;
            }
            let mut receipts = log.fill(&store, &clock).await;
            let before = prober(&store).stop_after(Duration::from_millis(300)).await;
            let meanwhile = prober(&store);
            let row = log.row(&store, &clock, &mut receipts).await;
            let row: String = row.iter().map(|took| format!(" {took:>8.1?}")).collect();
            let meanwhile = meanwhile.stop_after(Duration::ZERO).await;
            println!("{name:7} {entries:>7}{row} | {before:.1?}, {meanwhile:.1?}");
        }
    }
}

const ROUNDS: usize = 20;

/// A log with room for some more entries, and the same with a longer window.
struct Log {
    entries: u64,
    policy: Policy,
    changed: Policy,
}

impl Log {
    fn new(entries: u64) -> Self {
        let policy = |hours: u64| {
            let window = Duration::from_secs(3_600 * hours);
            let quota = sliding_window_log::Quota::new(entries, window);
            Policy::new(&format!("log-{entries}"), quota.unwrap()).unwrap()
        };
        Self { entries, policy: policy(1), changed: policy(2) }
    }

    /// Charges all but a few, a microsecond apart.
    async fn fill(&self, store: &Store, clock: &ManualClock) -> Vec<Receipt> {
        let mut receipts = Vec::new();
        for _ in 0..self.entries - 4 * ROUNDS as u64 {
            receipts.push(self.spend(store, clock).await);
        }
        receipts
    }

    async fn spend(&self, store: &Store, clock: &ManualClock) -> Receipt {
        clock.advance(Micros::new(1));
        let decision = apply(store, check(&self.policy, "long", 1), Action::Spend).await.unwrap();
        assert!(decision.is_allowed(), "there is room");
        Receipt::of(&decision, &self.policy, 1)
    }

    /// The longest of some calls of each kind.
    async fn row(
        &self,
        store: &Store,
        clock: &ManualClock,
        receipts: &mut Vec<Receipt>,
    ) -> [Duration; 6] {
        let mut random = Rng::with_seed(213);
        let mut longest = [Duration::ZERO; 6];
        let one = check(&self.policy, "long", 1);
        let changed = check(&self.changed, "long", 1);
        for _ in 0..ROUNDS {
            let receipt = receipts.swap_remove(random.usize(..receipts.len()));
            // The block is over when the numbers change, and they change back with the next round.
            let calls = [
                (one, Action::Spend, 1),
                (one.with_receipt(Some(receipt)), Action::Refund, 1),
                (one, Action::Penalize, 1),
                (one, Action::Block(Micros::new(10)), 1),
                (one, Action::Spend, 20),
                (changed, Action::Penalize, 1),
            ];
            for (longest, (check, action, pause)) in longest.iter_mut().zip(calls) {
                *longest = timed(store, check, action).await.max(*longest);
                clock.advance(Micros::new(pause));
            }
            timed(store, one, Action::Penalize).await;
        }
        longest
    }
}

async fn timed(store: &Store, check: Check<'_>, action: Action) -> Duration {
    let begun = Instant::now();
    let _ = apply(store, check, action).await.unwrap();
    begun.elapsed()
}

/// Checks another key all the time.
struct Prober {
    is_over: Arc<AtomicBool>,
    took: tokio::task::JoinHandle<Vec<Duration>>,
}

fn prober(store: &Store) -> Prober {
    let (store, is_over) = (Arc::clone(store), Arc::new(AtomicBool::new(false)));
    let stop = Arc::clone(&is_over);
    let took = tokio::spawn(async move {
        let quota = sliding_window_log::Quota::new(10, Duration::from_secs(1));
        let policy = Policy::new("other", quota.unwrap()).unwrap();
        let mut took = Vec::new();
        while !stop.load(Relaxed) {
            took.push(timed(&store, check(&policy, "other", 1), Action::Spend).await);
            sleep(Duration::from_micros(100)).await;
        }
        took
    });
    Prober { is_over, took }
}

impl Prober {
    /// The time that 99 of 100 checks took.
    async fn stop_after(self, wait: Duration) -> Duration {
        sleep(wait).await;
        self.is_over.store(true, Relaxed);
        percentile(&mut self.took.await.unwrap(), 99)
    }
}
