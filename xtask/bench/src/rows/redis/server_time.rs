//! The cost of an allowed decision to the server, as it counts itself.

use anyhow::{Context, Result};
use ratelimit_servers::Server;
use tokio::task::JoinSet;

use super::{Coalescing, Site, handwritten::Handwritten, limiter};
use crate::{
    bench::{Bench, Title, turns},
    row::{Mark, Unit},
    sample::Sample,
};

pub(super) fn rows(bench: &mut Bench<'_>, site: &Site) -> Result<()> {
    for (coalescing, reach) in [(Coalescing::Off, 1.15), (Coalescing::On, 0.7)] {
        row(bench, site, coalescing, reach)?;
    }
    Ok(())
}

fn row(
    bench: &mut Bench<'_>,
    Site { runtime, server }: &Site,
    coalescing: Coalescing,
    reach: f64,
) -> Result<()> {
    let name = format!("redis, server time of an allowed decision, {}", coalescing.name());
    if !bench.wants(&name) {
        return Ok(());
    }
    let Some(server) = &**server else { return Ok(()) };
    let limiter = runtime.block_on(limiter(server, coalescing))?;
    let handwritten = runtime.block_on(Handwritten::connect(server))?;
    let (ours, theirs) = turns(
        bench.effort(ROUNDS),
        || {
            let ask = || {
                let limiter = limiter.clone();
                async move { limiter.check("user:42").await.is_ok() }
            };
            runtime.block_on(micros(server, ask))
        },
        || {
            let ask = || {
                let handwritten = handwritten.clone();
                async move { handwritten.check("user:42").await.is_ok() }
            };
            runtime.block_on(micros(server, ask))
        },
    );
    let [ours, theirs] = [ours, theirs].map(|rounds| rounds.into_iter().collect::<Result<_>>());
    let title = Title { name: &name, beside: "by hand", mark: Mark::Ratio(reach) };
    bench.add(&title, Unit::Micros, Sample::new(ours?), Some(Sample::new(theirs?)));
    Ok(())
}

/// Microseconds in scripts for each answer, of many at once.
async fn micros<F>(server: &Server, ask: impl Fn() -> F) -> Result<f64>
where
    F: Future<Output = bool> + Send + 'static,
{
    server.cli(&["CONFIG", "RESETSTAT"]);
    let mut tasks = JoinSet::new();
    (0..ANSWERS).for_each(|_| drop(tasks.spawn(ask())));
    let answers = tasks.join_all().await.into_iter().filter(|&answered| answered).count();
    let line = server.info("commandstats", "cmdstat_evalsha:").context("it was called")?;
    Ok(ratelimit_servers::field(&line, "usec=") as f64 / answers as f64)
}

const ROUNDS: usize = 200;

/// Few, so that most rounds pass without the server being interrupted, which it would count.
const ANSWERS: usize = 200;
