//! The time of a simulation of four limits for each line of a log, beside `awk` that counts the
//! requests of each client in the same file. Both run on one thread.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Result, ensure};
use fastrand::Rng;
use ratelimit_simulate::{LogReader, LogSettings, Simulation};

use crate::{
    bench::{Bench, Title, turns},
    row::{Mark, Unit},
    sample::Sample,
};

pub(crate) fn rows(bench: &mut Bench<'_>) -> Result<()> {
    for (clients, name) in [
        (10_000, "simulate, combined format, four candidates, 10^4 clients"),
        (100_000, "simulate, combined format, four candidates, 10^5 clients"),
    ] {
        row(bench, name, clients)?;
    }
    Ok(())
}

fn row(bench: &mut Bench<'_>, name: &str, clients: usize) -> Result<()> {
    if !bench.wants(name) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("access.log");
    let lines = bench.effort(LINES);
    write(&log, clients, lines)?;
    if let Err(error) = awk(&log, lines) {
        eprintln!("{name}: skipped, {error:#}");
        return Ok(());
    }
    let (ours, theirs) = turns(bench.effort(ROUNDS), || simulate(&log, lines), || awk(&log, lines));
    let [ours, theirs] = [ours, theirs].map(|rounds| rounds.into_iter().collect::<Result<_>>());
    let title = Title { name, beside: "awk, requests by client", mark: Mark::Ratio(0.5) };
    bench.add(&title, Unit::Nanos, Sample::new(ours?), Some(Sample::new(theirs?)));
    Ok(())
}

/// Nanoseconds a line, the report included.
fn simulate(log: &Path, lines: usize) -> Result<f64> {
    let began = Instant::now();
    let mut simulation = Simulation::new(LIMITS.parse()?);
    let mut reader = LogReader::new(LogSettings::default())?;
    reader.read(File::open(log)?, &mut simulation)?;
    let counts = reader.finish(&mut simulation);
    let report = simulation.report().to_json();
    ensure!(counts.requests == lines as u64 && !report.is_empty(), "{counts:?}");
    Ok(began.elapsed().as_nanos() as f64 / lines as f64)
}

/// The same of whatever awk is on the path.
fn awk(log: &Path, lines: usize) -> Result<f64> {
    let began = Instant::now();
    let mut awk = Command::new("awk");
    let awk = awk.arg("{ n[$1]++ } END { for (c in n) print n[c], c }").arg(log);
    let status = awk.stdout(Stdio::null()).status()?;
    ensure!(status.success(), "awk failed");
    Ok(began.elapsed().as_nanos() as f64 / lines as f64)
}

/// A day's log of some 150 bytes a line, whose clients are the rarer the higher their number.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below clients")]
fn write(log: &Path, clients: usize, lines: usize) -> Result<()> {
    let (mut random, mut log) = (Rng::with_seed(0), BufWriter::new(File::create(log)?));
    for line in 0..lines {
        let client = (clients as f64).powf(random.f64()) as usize;
        let [b, c, d] = [client >> 16 & 255, client >> 8 & 255, client & 255];
        let second = line * 86_400 / lines;
        let [hour, minute, second] = [second / 3_600, second / 60 % 60, second % 60];
        let (item, bytes) = (random.u16(..), random.u16(..));
        let agent = random.choice(AGENTS).unwrap_or_default();
        writeln!(
            log,
            "10.{b}.{c}.{d} - - [10/Oct/2025:{hour:02}:{minute:02}:{second:02} +0000] \
             \"GET /api/items/{item} HTTP/1.1\" 200 {bytes} \"-\" \"{agent}\""
        )?;
    }
    Ok(log.flush()?)
}

const LIMITS: &str = r#"
a = "10/1s"
b = "100/60s"
c = { algorithm = "fixed_window", limit = 1000, window = "1h" }
d = { algorithm = "sliding_window_counter", limit = 60, window = "1m" }
"#;

const AGENTS: [&str; 3] = [
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_2 like Mac OS X) AppleWebKit/605.1.15",
    "curl/8.5.0",
];

const LINES: usize = 2_000_000;

const ROUNDS: usize = 12;
