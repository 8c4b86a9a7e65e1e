//! `cargo xtask bench`: the cost of a decision, ours beside a peer's.
//!
//! Both sides of a row run in turns in one process, several rounds, so that whatever else the
//! machine does meets both; the medians are compared. A row is written where its subject is, in
//! `rows`; everything else here only measures and shows.

mod bench;
mod concurrent;
mod machine;
mod options;
mod report;
mod row;
mod rows;
mod sample;
mod setup;
mod subprocess;

use std::{fs, process::ExitCode, time::Instant};

use anyhow::{Context, Result};

use crate::{bench::Bench, options::Options};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, name] = &mut arguments[..]
        && first == subprocess::FLAG
    {
        return rows::probe(name);
    }
    let (options, began) = (Options::parse(&arguments), Instant::now());
    let baseline = options.against.as_deref().map(report::json::read).transpose()?;
    let mut bench = Bench::new(&options);
    rows::all(&mut bench)?;
    let rows = bench.into_rows();
    anyhow::ensure!(!rows.is_empty(), "no row has all of these words: {:?}", options.words);
    let command = options.command();
    eprintln!("{} rows in {} s", rows.len(), began.elapsed().as_secs());
    println!("{}", report::markdown::table(&rows, baseline.as_ref(), &command));
    for file in options.json.iter().chain(&options.save) {
        fs::write(file, report::json::write(&rows)).with_context(|| file.clone())?;
    }
    if let Some(file) = &options.plots {
        fs::write(file, report::plots::picture(&rows, &command)).with_context(|| file.clone())?;
    }
    if let Some(file) = &options.picture {
        fs::write(file, report::picture::picture(&rows)?).with_context(|| file.clone())?;
    }
    if let Some(file) = &options.svg {
        fs::write(file, report::bars::picture(&rows, &command)).with_context(|| file.clone())?;
    }
    Ok(())
}
