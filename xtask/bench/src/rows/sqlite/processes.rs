//! Several processes on one file, each a caller that waits for each answer.

use std::{
    env,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use ratelimit_algorithms::{Decision, Error, ErrorKind};

use super::{DEADLINE, Files, keys, open};
use crate::{
    bench::{Bench, Title, turns},
    row::{Mark, Unit},
    sample::Sample,
    setup::Outcome,
    subprocess,
};

pub(super) fn rows(bench: &mut Bench<'_>) -> Result<()> {
    let [rate, longest] = ["sqlite, 4 processes", "sqlite, 4 processes, longest wait"];
    if !bench.wants(rate) && !bench.wants(longest) {
        return Ok(());
    }
    let files = Files::new()?;
    let ask = |processes| crowd(processes, &files.ours());
    let (several, one) = turns(bench.effort(ROUNDS), || ask(4), || ask(1));
    let [several, one] =
        [several, one].map(|rounds| rounds.into_iter().collect::<Result<Vec<_>>>());
    let (several, one) = (several?, one?);
    let beside = "one process";
    let of = |rounds: &[(f64, f64)], part: fn(&(f64, f64)) -> f64| {
        Sample::new(rounds.iter().map(part).collect())
    };
    let title = Title { name: rate, beside, mark: Mark::AtLeast(0.85) };
    let part = |round: &(f64, f64)| round.0;
    bench.add(&title, Unit::PerSecond, of(&several, part), Some(of(&one, part)));
    let title = Title { name: longest, beside, mark: Mark::Ratio(2.0) };
    let part = |round: &(f64, f64)| round.1;
    bench.add(&title, Unit::Millis, of(&several, part), Some(of(&one, part)));
    Ok(())
}

/// Decisions a second of all together, and the longest wait of any, in milliseconds.
fn crowd(processes: usize, file: &Path) -> Result<(f64, f64)> {
    let file = file.to_str().context("a folder of ours has a name in UTF-8")?;
    let probe = format!("{PROBE}{file}");
    let start = |_| {
        let mut process = Command::new(env::current_exe()?);
        anyhow::Ok(process.args([subprocess::FLAG, &probe]).stdout(Stdio::piped()).spawn()?)
    };
    let children = (0..processes).map(start).collect::<Result<Vec<Child>>>()?;
    let (mut rate, mut longest) = (0.0, 0.0_f64);
    for child in children {
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "a process has failed");
        let report = String::from_utf8(output.stdout)?;
        let (its, waited) = report.trim_end().split_once(' ').context("it reports two figures")?;
        rate += its.parse::<f64>()?;
        longest = longest.max(waited.parse()?);
    }
    Ok((rate, longest))
}

/// The prefix of the names of probes that are processes of [`crowd`]; the file follows.
pub(crate) const PROBE: &str = "sqlite ";

/// Checks for a while, and reports its rate and its longest wait. A check that times out is
/// retried, and its wait continues.
pub(crate) fn probe(file: &str) -> Result<()> {
    let (limiter, keys) = (open(Path::new(file), Outcome::Allowed, DEADLINE)?, keys());
    let (began, mut asked, mut longest) = (Instant::now(), 0.0, Duration::ZERO);
    for key in keys.iter().cycle() {
        let before = Instant::now();
        while !is_answered(limiter.check(key).now())? {}
        longest = longest.max(before.elapsed());
        asked += 1.0;
        if LENGTH < began.elapsed() {
            break;
        }
    }
    println!("{} {}", asked / began.elapsed().as_secs_f64(), longest.as_secs_f64() * 1e3);
    Ok(())
}

fn is_answered(answer: Result<Decision, Error>) -> Result<bool> {
    match answer {
        Err(Error::Backend(error)) if error.kind() == ErrorKind::Timeout => Ok(false),
        answer => Ok(answer?.is_allowed()),
    }
}

const ROUNDS: usize = 11;

/// Of a quiet second, starting them takes a hundredth.
const LENGTH: Duration = Duration::from_millis(500);
