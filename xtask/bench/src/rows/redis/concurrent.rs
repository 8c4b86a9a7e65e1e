//! Async callers, alone and many at once, with commands of their own and with shared ones.

use std::sync::Arc;

use anyhow::{Result, ensure};

use super::{Coalescing, Site, handwritten::Handwritten, limiter};
use crate::{
    bench::Bench,
    concurrent::{self, Callers},
    row::Mark,
};

pub(super) fn rows(bench: &mut Bench<'_>, site: &Site) -> Result<()> {
    for (number, coalesced) in [(1, 0.95), (64, 1.25), (256, 1.6)] {
        row(bench, site, number, (Coalescing::Off, 0.9))?;
        row(bench, site, number, (Coalescing::On, coalesced))?;
    }
    Ok(())
}

fn row(
    bench: &mut Bench<'_>,
    Site { runtime, server }: &Site,
    number: usize,
    (coalescing, reach): (Coalescing, f64),
) -> Result<()> {
    let name = format!("redis, {number} async callers, {}", coalescing.name());
    let callers = Callers { number, rate: Mark::AtLeast(reach), p99: Mark::None };
    concurrent::race(bench, runtime, (&name, "by hand, with fred"), callers, || {
        let Some(server) = &**server else { return Ok(None) };
        let limiter = runtime.block_on(limiter(server, coalescing))?;
        let handwritten = runtime.block_on(Handwritten::connect(server))?;
        let ours = move |key| concurrent::check(limiter.clone(), key);
        let theirs = move |key: Arc<str>| {
            let handwritten = handwritten.clone();
            async move {
                ensure!(0 <= handwritten.check(&key).await?, "denied");
                Ok(())
            }
        };
        Ok(Some((ours, theirs)))
    })
}
