//! Many concurrent async callers: their decisions a second, and the median and the 99th percentile
//! of the time that one takes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use ratelimit_algorithms::{Backend, Limiter};
use tokio::runtime::Runtime;

use crate::{
    bench::{Bench, Title, turns},
    row::{Mark, Unit},
    sample::Sample,
    setup::key,
};

/// Callers, and what their rate and their 99th percentile are to reach.
#[derive(Clone, Copy)]
pub(crate) struct Callers {
    pub(crate) number: usize,
    pub(crate) rate: Mark,
    pub(crate) p99: Mark,
}

/// The figures of one round.
struct Round {
    rate: f64,
    waits_ms: Sample,
}

/// Runs both sides in turns, unless there is nothing to run them on: what they ask about a key.
pub(crate) fn race<O, T, OurReply, TheirReply>(
    bench: &mut Bench<'_>,
    runtime: &Runtime,
    (name, beside): (&str, &str),
    callers: Callers,
    set_up: impl FnOnce() -> Result<Option<(O, T)>>,
) -> Result<()>
where
    O: Fn(Arc<str>) -> OurReply + Clone + Send + 'static,
    T: Fn(Arc<str>) -> TheirReply + Clone + Send + 'static,
    OurReply: Future<Output = Result<()>> + Send,
    TheirReply: Future<Output = Result<()>> + Send,
{
    let tails = [(0.5, "p50", Mark::None), (0.99, "p99", callers.p99)];
    let tails = tails.map(|(part, tail, mark)| (part, format!("{name}, {tail}"), mark));
    if !bench.wants(name) && !tails.iter().any(|(_, name, _)| bench.wants(name)) {
        return Ok(());
    }
    let Some((ours, theirs)) = set_up()? else { return Ok(()) };
    let (ours, theirs) = turns(
        bench.effort(ROUNDS),
        || runtime.block_on(round(callers.number, &ours)),
        || runtime.block_on(round(callers.number, &theirs)),
    );
    let [ours, theirs] =
        [ours, theirs].map(|rounds| rounds.into_iter().collect::<Result<Vec<_>>>());
    let (ours, theirs) = (ours.context("ours")?, theirs.context("theirs")?);
    let rate = |rounds: &[Round]| Sample::new(rounds.iter().map(|round| round.rate).collect());
    let title = Title { name, beside, mark: callers.rate };
    bench.add(&title, Unit::PerSecond, rate(&ours), Some(rate(&theirs)));
    for (part, name, mark) in &tails {
        let tail = |rounds: &[Round]| {
            Sample::new(rounds.iter().map(|round| round.waits_ms.at(*part)).collect())
        };
        let title = Title { name, beside, mark: *mark };
        bench.add(&title, Unit::Millis, tail(&ours), Some(tail(&theirs)));
    }
    Ok(())
}

/// Checks a key with one of our limiters.
pub(crate) async fn check<B: Backend>(limiter: Limiter<B>, key: Arc<str>) -> Result<()> {
    ensure!(limiter.check(&*key).await?.is_allowed(), "denied");
    Ok(())
}

async fn round<F>(
    callers: usize,
    ask: &(impl Fn(Arc<str>) -> F + Clone + Send + 'static),
) -> Result<Round>
where
    F: Future<Output = Result<()>> + Send,
{
    let keys: Arc<[Arc<str>]> = (0..KEYS).map(|number| key(number).into()).collect();
    let began = Instant::now();
    let tasks = (0..callers).map(|caller| {
        let (ask, keys) = (ask.clone(), Arc::clone(&keys));
        tokio::spawn(async move {
            let mut took = Vec::new();
            while began.elapsed() < LENGTH {
                let asked = Instant::now();
                let key = &keys[(caller + took.len() * callers) % KEYS];
                ask(Arc::clone(key)).await?;
                took.push(asked.elapsed().as_secs_f64() * 1e3);
            }
            anyhow::Ok(took)
        })
    });
    let mut took = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        took.extend(task.await??);
    }
    let rate = took.len() as f64 / began.elapsed().as_secs_f64();
    Ok(Round { rate, waits_ms: Sample::new(took) })
}

/// So many that they take more than a page of a database.
pub(crate) const KEYS: usize = 1_000;

const ROUNDS: usize = 24;

/// Long enough for a database to write its log back.
const LENGTH: Duration = Duration::from_millis(100);
