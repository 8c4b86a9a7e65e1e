//! `cargo xtask replay`: recorded scenarios, decided anew by one of the engines.
//!
//! Reads JSON lines, a scenario each, runs every one from scratch under a clock that stands where
//! the scenario says, and prints it again with what was decided; or, with `--check`, compares that
//! with what the file says.

mod compare;
mod decimal;
mod engine;
mod replay;
mod scenario;

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    process::ExitCode,
};

use anyhow::{Context, Result};

use crate::{compare::Differences, engine::Engine, scenario::Scenario};

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("replay: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Replays every line of the file; returns whether nothing differed.
fn run() -> Result<bool> {
    let arguments = xtask::REPLAY.parse_or_exit(&std::env::args().skip(1).collect::<Vec<_>>());
    let is_check = arguments.has("--check");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut engine = Engine::start(arguments.value("--backend").unwrap_or("core"))?;
    let mut out = io::stdout().lock();
    let mut differences = Differences::default();
    for (number, line) in (1..).zip(BufReader::new(open(&arguments.operands()[0])?).lines()) {
        let line = line.context("the file cannot be read")?;
        if line.trim().is_empty() {
            continue;
        }
        let scenario = Scenario::parse(&line).with_context(|| format!("line {number}"))?;
        let decided = runtime.block_on(replay::replay(&scenario, &mut engine))?;
        if is_check {
            differences.compare(&scenario, &decided);
        } else {
            writeln!(out, "{}", scenario.with_steps(decided))?;
        }
    }
    if is_check {
        write!(out, "{differences}")?;
    }
    Ok(differences.is_empty())
}

fn open(file: &str) -> Result<Box<dyn Read>> {
    if file == "-" {
        return Ok(Box::new(io::stdin()));
    }
    Ok(Box::new(fs::File::open(file).with_context(|| file.to_owned())?))
}
