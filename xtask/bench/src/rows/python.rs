//! Checks a second, beside the Python library that this one started from: a hot key, each algorithm
//! on each store that supports it there.
//!
//! It is installed from PyPI into a virtual environment beside this program. Where there is no
//! Python, or it cannot be installed, these rows are left out.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use ratelimit_algorithms::{
    Adaptive, Algorithm, FixedWindow, LeakyBucket, Limiter, SlidingWindowCounter, SlidingWindowLog,
    TokenBucket,
};
use ratelimit_backend::SyncBackend;
use ratelimit_memory::Memory;
use ratelimit_redis::Redis;
use ratelimit_servers::Server;
use ratelimit_sqlite::Sqlite;
use tokio::runtime::Runtime;

use crate::{
    bench::{Bench, Title},
    row::{Mark, Unit},
};

pub(crate) fn rows(bench: &mut Bench<'_>) -> Result<()> {
    if bench.is_brief() {
        return Ok(());
    }
    let names = BACKENDS
        .iter()
        .flat_map(|(backend, _)| ALGORITHMS.iter().map(move |algorithm| name(backend, algorithm)));
    if !names.into_iter().any(|name| bench.wants(&name)) {
        return Ok(());
    }
    let python = match install() {
        Ok(python) => python,
        Err(error) => {
            eprintln!("python: skipped, {error:#}");
            return Ok(());
        }
    };
    let (folder, server) = (tempfile::tempdir()?, Server::start(&[]));
    let theirs = figures(&python, folder.path(), server.as_ref())?;
    let runtime = Runtime::new()?;
    for (backend, algorithm, rate) in theirs {
        let ours =
            runtime.block_on(our_rate(&backend, &algorithm, folder.path(), server.as_ref()))?;
        let mark = BACKENDS.iter().find(|(name, _)| *name == backend).map(|(_, mark)| *mark);
        let is_one_command = backend == "redis" && algorithm == "fixed window";
        let mark = mark.map(|mark| if is_one_command { 1.0 } else { mark });
        let name = name(&backend, &algorithm);
        if let (Some(mark), true) = (mark, bench.wants(&name)) {
            let title = Title { name: &name, beside: PACKAGE, mark: Mark::AtLeast(mark) };
            bench.add(&title, Unit::PerSecond, ours.into(), Some(rate.into()));
        }
    }
    Ok(())
}

fn name(backend: &str, algorithm: &str) -> String {
    format!("python, {backend}, {algorithm}")
}

/// The factor by which ours is to be faster.
const BACKENDS: [(&str, f64); 3] = [("memory", 50.0), ("sqlite", 20.0), ("redis", 5.0)];

/// As `original.py` calls them.
const ALGORITHMS: [&str; 6] = [
    "fixed window",
    "sliding window log",
    "sliding window counter",
    "token bucket",
    "leaky bucket",
    "adaptive hybrid",
];

const PACKAGE: &str = "smart-ratelimiter==0.1.0";

/// A Python that has it.
fn install() -> Result<PathBuf> {
    let beside = env::current_exe()?.parent().context("this program is in a folder")?.to_owned();
    let folder = beside.join("python-original");
    let python = folder.join("bin").join("python");
    let has_it =
        |python: &Path| run(Command::new(python).args(["-c", "import ratelimiter, redis"]));
    if has_it(&python).is_err() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder)).context("no python3")?;
        let pip = ["-m", "pip", "install", "--quiet", PACKAGE, "redis"];
        run(Command::new(&python).args(pip)).context("pip cannot install it")?;
    }
    Ok(python)
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    ensure!(status.success(), "{command:?} failed");
    Ok(())
}

/// Backend, algorithm, checks a second.
fn figures(
    python: &Path,
    folder: &Path,
    server: Option<&Server>,
) -> Result<Vec<(String, String, f64)>> {
    let port = server.map_or(0, |server| server.port).to_string();
    let seconds = LENGTH.as_secs_f64().to_string();
    let mut command = Command::new(python);
    command.args(["-c", include_str!("python/original.py")]).arg(folder).args([&port, &seconds]);
    let output = command.stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "python failed");
    let figure = |line: &str| {
        let (backend, rest) = line.split_once(',').context("a backend")?;
        let (algorithm, rate) = rest.split_once(',').context("an algorithm")?;
        anyhow::Ok((backend.to_owned(), algorithm.to_owned(), rate.parse()?))
    };
    String::from_utf8(output.stdout)?.lines().map(figure).collect()
}

async fn our_rate(
    backend: &str,
    algorithm: &str,
    folder: &Path,
    server: Option<&Server>,
) -> Result<f64> {
    let file = folder.join("ours.db");
    match (backend, server) {
        ("memory", _) => rate(Memory::new(), algorithm),
        ("sqlite", _) => rate(Sqlite::open(file)?, algorithm),
        (_, Some(server)) => {
            let store = Redis::connect(&server.url()).await?;
            // A log there has no more entries than that, nor are so many asked for.
            let algorithm_of_it = self::algorithm(algorithm, 10_000)?;
            let limiter = Limiter::new(store, &algorithm.replace(' ', "-"), algorithm_of_it)?;
            let (began, mut asked) = (Instant::now(), 0.0);
            while began.elapsed() < LENGTH {
                let _ = limiter.check("user:42").await?;
                asked += 1.0;
            }
            Ok(asked / began.elapsed().as_secs_f64())
        }
        (_, None) => anyhow::bail!("no server"),
    }
}

/// Of a caller that is blocked meanwhile, as theirs is.
fn rate(store: impl SyncBackend, algorithm: &str) -> Result<f64> {
    let algorithm_of_it = self::algorithm(algorithm, 1_000_000)?;
    let limiter = Limiter::new(store, &algorithm.replace(' ', "-"), algorithm_of_it)?;
    let (began, mut asked) = (Instant::now(), 0.0);
    while began.elapsed() < LENGTH {
        for _ in 0..10 {
            let _ = limiter.check("user:42").now()?;
        }
        asked += 10.0;
    }
    Ok(asked / began.elapsed().as_secs_f64())
}

fn algorithm(name: &str, limit: u64) -> Result<Algorithm> {
    let window = Duration::from_secs(60);
    Ok(match name {
        "fixed window" => FixedWindow::per(limit, window).try_into()?,
        "sliding window log" => SlidingWindowLog::per(limit, window).try_into()?,
        "sliding window counter" => SlidingWindowCounter::per(limit, window).try_into()?,
        "token bucket" => TokenBucket::per(limit, window).try_into()?,
        "leaky bucket" => LeakyBucket::per(limit, window).try_into()?,
        _ => Adaptive::per(limit / 2, window).try_into()?,
    })
}

/// Short, for logs grow meanwhile.
const LENGTH: Duration = Duration::from_millis(200);
