//! Many async callers at once, beside the same by hand on the runtime's blocking threads.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Result;
use tokio::{runtime::Runtime, task};

use super::{Files, handwritten::Handwritten, open};
use crate::{
    bench::Bench,
    concurrent::{self, Callers},
    row::Mark,
    setup::Outcome,
};

pub(super) fn rows(bench: &mut Bench<'_>) -> Result<()> {
    let runtime = Runtime::new()?;
    for (number, rate) in [(64, 7.0), (256, 10.0)] {
        row(bench, &runtime, (number, rate))?;
    }
    Ok(())
}

fn row(bench: &mut Bench<'_>, runtime: &Runtime, (number, rate): (usize, f64)) -> Result<()> {
    let name = format!("sqlite, {number} async callers");
    let beside = "by hand, spawn_blocking and a mutex";
    let callers = Callers { number, rate: Mark::AtLeast(rate), p99: Mark::Ratio(0.1) };
    let files = Files::new()?;
    concurrent::race(bench, runtime, (&name, beside), callers, || {
        let limiter = open(&files.ours(), Outcome::Allowed, PATIENT)?;
        let handwritten =
            Arc::new(Mutex::new(Handwritten::open(&files.theirs(), Outcome::Allowed)?));
        let ours = move |key| concurrent::check(limiter.clone(), key);
        let theirs = move |key: Arc<str>| {
            let handwritten = Arc::clone(&handwritten);
            let check = move || {
                handwritten.lock().unwrap_or_else(PoisonError::into_inner).check(&key).map(drop)
            };
            async move { task::spawn_blocking(check).await? }
        };
        Ok(Some((ours, theirs)))
    })
}

/// However busy the machine is, nobody is to give up.
const PATIENT: Duration = Duration::from_secs(10);
