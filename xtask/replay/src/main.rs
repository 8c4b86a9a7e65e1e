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

use anyhow::{Context, Result, bail};

use crate::{compare::Differences, engine::Engine, scenario::Scenario};

const USAGE: &str = "usage: cargo xtask replay [--backend core|memory|sqlite|redis] [--check] FILE
FILE holds scenarios as JSON lines; - is the standard input.";

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

/// Whether nothing differed.
fn run() -> Result<bool> {
    let options = Options::parse(std::env::args().skip(1))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut engine = Engine::start(&options.backend)?;
    let mut out = io::stdout().lock();
    let mut differences = Differences::default();
    for (number, line) in (1..).zip(BufReader::new(open(&options.file)?).lines()) {
        let line = line.context("the file cannot be read")?;
        if line.trim().is_empty() {
            continue;
        }
        let scenario = Scenario::parse(&line).with_context(|| format!("line {number}"))?;
        let decided = runtime.block_on(replay::replay(&scenario, &mut engine))?;
        if options.check {
            differences.compare(&scenario, &decided);
        } else {
            writeln!(out, "{}", scenario.with_steps(decided))?;
        }
    }
    if options.check {
        write!(out, "{differences}")?;
    }
    Ok(differences.is_empty())
}

struct Options {
    backend: String,
    check: bool,
    file: String,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let (mut backend, mut check, mut file) = ("core".to_owned(), false, None);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--backend" => backend = arguments.next().context(USAGE)?,
                "--check" => check = true,
                "--help" => bail!("{USAGE}"),
                name if name.starts_with("--") => bail!("no such option: {name}\n{USAGE}"),
                _ if file.is_some() => bail!("{USAGE}"),
                _ => file = Some(argument),
            }
        }
        Ok(Self { backend, check, file: file.context(USAGE)? })
    }
}

fn open(file: &str) -> Result<Box<dyn Read>> {
    if file == "-" {
        return Ok(Box::new(io::stdin()));
    }
    Ok(Box::new(fs::File::open(file).with_context(|| file.to_owned())?))
}
