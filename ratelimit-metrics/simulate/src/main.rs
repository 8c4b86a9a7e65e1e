//! `ratelimit-simulate`: what a rate limit would have done to yesterday's traffic.

mod arguments;
mod progress;

use std::{
    fs,
    io::{self, Read, Write},
    path::Path,
    process::ExitCode,
};

use ratelimit_simulate::{LogError, LogReader, Report, Simulation};

use crate::{
    arguments::{Arguments, Request},
    progress::Progress,
};

fn main() -> ExitCode {
    let request = match arguments::parse() {
        Ok(request) => request,
        Err(error) => {
            eprintln!("ratelimit-simulate: {error}\nratelimit-simulate --help says more");
            return ExitCode::from(2);
        }
    };
    let outcome = match request {
        Request::Help => print(arguments::HELP).map(|()| true).map_err(Into::into),
        Request::Version => {
            let version = concat!("ratelimit-simulate ", env!("CARGO_PKG_VERSION"), "\n");
            print(version).map(|()| true).map_err(Into::into)
        }
        Request::Simulate(arguments) => run(*arguments),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) if is_closed(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ratelimit-simulate: {error}");
            ExitCode::from(2)
        }
    }
}

/// Returns true if the reader of our output has seen enough.
fn is_closed(error: &(dyn std::error::Error + 'static)) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Returns false if a log has ended early.
fn run(arguments: Arguments) -> Result<bool, Box<dyn std::error::Error>> {
    let mut simulation =
        Simulation::new(arguments.candidates).with_clients_max(arguments.clients_max);
    if let Some(share) = arguments.deny_at_most {
        simulation = simulation.with_search(share)?;
    }
    let mut reader = LogReader::new(arguments.settings)?;
    let mut is_whole = true;
    for log in &arguments.logs {
        match read(log, &mut reader, &mut simulation) {
            Err(error @ LogError::Cut(_)) => {
                eprintln!("ratelimit-simulate: {}: {error}", log.display());
                is_whole = false;
            }
            outcome => outcome?,
        }
    }
    let counts = reader.finish(&mut simulation);
    if let (0, [bad, ..]) = (counts.requests, &*counts.first_bad) {
        return Err(format!(
            "no line is a request: line {} has {}; --format names another format",
            bad.line, bad.reason
        )
        .into());
    }
    let mut report = simulation.report();
    report.log = Some(counts);
    write(&report, &arguments.outputs)?;
    Ok(is_whole)
}

fn read(log: &Path, reader: &mut LogReader, simulation: &mut Simulation) -> Result<(), LogError> {
    let (input, bytes): (Box<dyn Read>, _) = if log == Path::new("-") {
        (Box::new(io::stdin().lock()), None)
    } else {
        let file = fs::File::open(log).map_err(LogError::Cut)?;
        let bytes = file.metadata().ok().filter(|file| file.is_file()).map(|file| file.len());
        (Box::new(file), bytes)
    };
    let mut progress = Progress::on_terminal(bytes);
    reader.read(progress.of(input), simulation)
}

/// Writes each form of the report to its place; the table to standard output, if nothing else goes
/// there.
fn write(report: &Report, outputs: &arguments::Outputs) -> Result<(), Box<dyn std::error::Error>> {
    let forms: [(_, Form); 3] = [
        (&outputs.json, |report| report.to_json() + "\n"),
        (&outputs.html, Report::to_html),
        (&outputs.limits, Report::to_limits_file),
    ];
    let is_output = |path: &Path| path == Path::new("-");
    for (path, form) in &forms {
        let Some(path) = path else { continue };
        let text = form(report);
        if is_output(path) {
            print(&text)?;
        } else {
            fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    if !forms.iter().any(|(path, _)| path.as_deref().is_some_and(is_output)) {
        print(&report.to_table())?;
    }
    Ok(())
}

type Form = fn(&Report) -> String;

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
