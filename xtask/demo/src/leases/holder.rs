//! A process that holds leases. It checks requests of its own, and reports what was admitted.
//!
//! The first line of its input has its settings. It ends when its input does, so that it does not outlive
//! the demo, however that ends.

use std::{
    collections::BTreeMap,
    io::{Write, copy, sink, stdin, stdout},
    process, thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use ratelimit_algorithms::{Limiter, Source};
use ratelimit_lease::{LeaseLength, Leased};
use ratelimit_redis::RedisSettings;
use ratelimit_resilience::Resilient;
use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, interval};

use crate::leases::{
    record::SLOT,
    terms::{REQUESTS, Terms},
};

/// The argument that makes a process of the demo a holder.
pub(crate) const WORD: &str = "holder";

/// The settings of a holder.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Settings {
    pub(crate) url: String,
    pub(crate) share: f64,
}

/// A line of a holder's output: its totals so far, and what was admitted since the last line.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Report {
    pub(crate) totals: Totals,
    /// An instant before, one after, in microseconds since the epoch, and the permits admitted between them.
    pub(crate) admitted: Vec<(u64, u64, u64)>,
}

/// The counts of a holder since its start.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Totals {
    pub(crate) checks: u64,
    pub(crate) admitted: u64,
    /// Of those, the ones that a lease admitted.
    pub(crate) leased: u64,
    pub(crate) denied: u64,
    /// Checks without a decision: there is no server, say.
    pub(crate) failed: u64,
    /// Calls of the Redis server.
    pub(crate) calls: u64,
}

type Store = Leased<Resilient<ratelimit_redis::Redis>>;

/// Runs a holder until its input ends.
pub(crate) async fn run() -> Result<()> {
    let settings = stdin().lines().next().context("a holder needs its settings")??;
    let Settings { url, share } = serde_json::from_str(&settings)?;
    thread::spawn(|| {
        let _ = copy(&mut stdin(), &mut sink());
        process::exit(0)
    });
    let terms = Terms::new(share)?;
    let redis = Resilient::new(RedisSettings::new(&url)?.connect_lazily());
    let store = Leased::new(redis, LeaseLength::time(terms.length)).with_held_max(terms.held_max);
    let limiter = Limiter::with_policies(store.clone(), terms.policy)?;
    spend(&limiter, &store).await
}

/// Checks requests every ten milliseconds, and reports twenty times a second, while anybody listens.
async fn spend(limiter: &Limiter<Store>, store: &Store) -> Result<()> {
    let mut ticks = interval(Duration::from_millis(10));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (mut totals, mut admitted) = (Totals::default(), BTreeMap::new());
    loop {
        for _ in 0..5 {
            ticks.tick().await;
            for _ in 0..REQUESTS {
                check(limiter, &mut totals, &mut admitted).await;
            }
        }
        totals.calls = store.stats().round_trips;
        let since = std::mem::take(&mut admitted);
        let since = since.into_iter().map(|((before, after), count)| (before, after, count));
        if tell(&Report { totals, admitted: since.collect() }).is_err() {
            // The demo has ended.
            return Ok(());
        }
    }
}

async fn check(
    limiter: &Limiter<Store>,
    totals: &mut Totals,
    admitted: &mut BTreeMap<(u64, u64), u64>,
) {
    let before = now();
    let decision = limiter.check("everybody").await;
    let slots = (before / SLOT * SLOT, now() / SLOT * SLOT);
    totals.checks += 1;
    match decision {
        Ok(decision) if decision.is_allowed() => {
            totals.admitted += 1;
            totals.leased += u64::from(decision.source() == Source::Lease);
            *admitted.entry(slots).or_default() += 1;
        }
        Ok(_) => totals.denied += 1,
        Err(_) => totals.failed += 1,
    }
}

/// Writes a line at once, so that a process that is killed has written it as a whole, or not.
fn tell(report: &Report) -> Result<()> {
    let line = serde_json::to_string(report)? + "\n";
    Ok(stdout().lock().write_all(line.as_bytes())?)
}

/// The time of the system's clock, which all processes share, in microseconds since the epoch.
fn now() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX)
}
