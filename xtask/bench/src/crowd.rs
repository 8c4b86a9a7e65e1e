//! Many async callers at once, each of which waits for its answers: how many they get a second, and
//! how long the slowest hundredth of them takes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::runtime::Runtime;

use crate::{
    bench::{Bench, Title, turns},
    row::{Mark, Unit},
    sample::Sample,
};

/// Callers, and what their rate and their 99th percentile are to reach.
#[derive(Clone, Copy)]
pub(crate) struct Callers {
    pub(crate) number: usize,
    pub(crate) rate: Mark,
    pub(crate) p99: Mark,
}

/// What one round gives.
struct Round {
    rate: f64,
    p99_ms: f64,
}

/// Runs both sides in turns, unless there is nothing to run them on: a question each about the key
/// of that number.
pub(crate) fn race<O, T, OurReply, TheirReply>(
    bench: &mut Bench<'_>,
    runtime: &Runtime,
    (name, beside): (&str, &str),
    callers: Callers,
    set_up: impl FnOnce() -> Result<Option<(O, T)>>,
) -> Result<()>
where
    O: Fn(usize) -> OurReply + Clone + Send + 'static,
    T: Fn(usize) -> TheirReply + Clone + Send + 'static,
    OurReply: Future<Output = Result<()>> + Send,
    TheirReply: Future<Output = Result<()>> + Send,
{
    let p99 = format!("{name}, p99");
    if !bench.wants(name) && !bench.wants(&p99) {
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
    let tail = |rounds: &[Round]| Sample::new(rounds.iter().map(|round| round.p99_ms).collect());
    let title = Title { name, beside, mark: callers.rate };
    bench.add(&title, Unit::PerSecond, rate(&ours), Some(rate(&theirs)));
    let title = Title { name: &p99, beside, mark: callers.p99 };
    bench.add(&title, Unit::Millis, tail(&ours), Some(tail(&theirs)));
    Ok(())
}

async fn round<F>(
    callers: usize,
    ask: &(impl Fn(usize) -> F + Clone + Send + 'static),
) -> Result<Round>
where
    F: Future<Output = Result<()>> + Send,
{
    let began = Instant::now();
    let tasks = (0..callers).map(|caller| {
        let ask = ask.clone();
        tokio::spawn(async move {
            let mut took = Vec::new();
            while began.elapsed() < LENGTH {
                let asked = Instant::now();
                ask((caller + took.len() * callers) % KEYS).await?;
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
    Ok(Round { rate, p99_ms: Sample::new(took).at(0.99) })
}

/// So many that they take more than a page of a database.
pub(crate) const KEYS: usize = 1_000;

const ROUNDS: usize = 24;

/// Long enough for a database to write its log back.
const LENGTH: Duration = Duration::from_millis(100);
