//! Leases of a hundredth of a period: hot keys of many async callers, and the commands that these cost.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use anyhow::{Result, ensure};
use ratelimit_algorithms::{Limiter, TokenBucket};
use ratelimit_lease::{LeaseLength, Leased};
use ratelimit_redis::Redis;
use ratelimit_servers::Server;

use super::{Coalescing, Site, connect, handwritten::Handwritten};
use crate::{
    bench::{Bench, Title},
    concurrent::{self, Callers},
    row::{Mark, Unit},
    setup,
};

pub(super) fn rows(bench: &mut Bench<'_>, site: &Site) -> Result<()> {
    for keys in [1, 100] {
        for callers in [64, 256] {
            row(bench, site, callers, keys)?;
        }
    }
    Ok(())
}

fn row(bench: &mut Bench<'_>, site: &Site, number: usize, keys: usize) -> Result<()> {
    let Site { runtime, server } = site;
    let keys_named = if keys == 1 { "1 hot key".to_owned() } else { format!("{keys} hot keys") };
    let name = format!("redis, leased, {number} async callers, {keys_named}");
    let callers = Callers { number, rate: Mark::AtLeast(10.0), p99: Mark::None };
    let (mut limiter_of_row, checks) = (None, Arc::new(AtomicU64::new(0)));
    concurrent::race(bench, runtime, (&name, "by hand, with fred"), callers, || {
        let Some(server) = &**server else { return Ok(None) };
        let limiter = runtime.block_on(limiter(server))?;
        let handwritten = runtime.block_on(Handwritten::connect(server))?;
        limiter_of_row = Some(limiter.clone());
        let (hot, checks) = (Hot::new(keys), Arc::clone(&checks));
        let of_theirs = hot.clone();
        let ours = move |key: Arc<str>| {
            checks.fetch_add(1, Relaxed);
            concurrent::check(limiter.clone(), hot.instead_of(&key))
        };
        let theirs = move |key: Arc<str>| {
            let (handwritten, key) = (handwritten.clone(), of_theirs.instead_of(&key));
            async move {
                ensure!(0 <= handwritten.check(&key).await?, "denied");
                Ok(())
            }
        };
        Ok(Some((ours, theirs)))
    })?;
    if let Some(limiter) = limiter_of_row {
        let calls = limiter.backend().stats().round_trips as f64;
        let of_thousand = calls * 1_000.0 / checks.load(Relaxed) as f64;
        let name = format!("{name}, calls for 1,000 checks");
        let title = Title { name: &name, beside: "", mark: Mark::Figure(20.0) };
        bench.add(&title, Unit::Calls, of_thousand.into(), None);
    }
    Ok(())
}

/// A limiter that lets all of a run pass: leases of 600 ms, of a million permits at most.
async fn limiter(server: &Server) -> Result<Limiter<Leased<Redis>>> {
    let store = connect(server, Coalescing::On).await?;
    let store = Leased::new(store, LeaseLength::share(0.01)?);
    Ok(Limiter::new(store, "leased", TokenBucket::per_minute(100_000_000))?)
}

/// Some keys, in the place of many.
#[derive(Clone)]
struct Hot(Arc<[Arc<str>]>);

impl Hot {
    fn new(keys: usize) -> Self {
        Self((0..keys).map(|number| setup::key(number).into()).collect())
    }

    /// The key that callers spend in the place of `key`.
    fn instead_of(&self, key: &str) -> Arc<str> {
        let number = key.bytes().fold(0, |number, digit| number * 10 + usize::from(digit & 15));
        Arc::clone(&self.0[number % self.0.len()])
    }
}
