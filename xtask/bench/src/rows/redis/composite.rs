//! A check of three limits, beside three checks one after the other.

use std::sync::Arc;

use anyhow::{Result, ensure};
use ratelimit_algorithms::{Limiter, Limits};

use super::{Coalescing, Site, connect};
use crate::{
    bench::Bench,
    concurrent::{self, Callers},
    row::Mark,
    setup::Outcome,
};

pub(super) fn rows(bench: &mut Bench<'_>, site: &Site) -> Result<()> {
    for number in [1, 64] {
        row(bench, site, number)?;
    }
    Ok(())
}

fn row(bench: &mut Bench<'_>, Site { runtime, server }: &Site, number: usize) -> Result<()> {
    let name = format!("redis, composite of 3, {number} async callers, no coalescing");
    let callers = Callers { number, rate: Mark::AtLeast(2.0), p99: Mark::None };
    concurrent::race(bench, runtime, (&name, "three checks"), callers, || {
        let Some(server) = &**server else { return Ok(None) };
        let store = runtime.block_on(connect(server, Coalescing::Off))?;
        let limiter = |name| Limiter::new(store.clone(), name, Outcome::Allowed.bucket());
        let limiters = [limiter("first")?, limiter("second")?, limiter("third")?];
        let ours = {
            let limiters = limiters.clone();
            move |key: Arc<str>| {
                let [first, second, third] = limiters.clone();
                async move {
                    let all = Limits::new(&first, &*key, 1).and(&second, &*key, 1);
                    let answer = all.and(&third, &*key, 1).check().await?;
                    ensure!(answer.is_allowed(), "denied");
                    Ok(())
                }
            }
        };
        let theirs = move |key: Arc<str>| {
            let limiters = limiters.clone();
            async move {
                for limiter in limiters {
                    concurrent::check(limiter, Arc::clone(&key)).await?;
                }
                Ok(())
            }
        };
        Ok(Some((ours, theirs)))
    })
}
