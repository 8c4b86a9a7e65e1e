//! Choose a limit by an access log: the clients that a candidate would have denied, and the
//! smallest limit that denies at most one client in a hundred.
//!
//! `cargo run -p ratelimit-simulate --example simulate [LOG]`

use std::{
    fs::File,
    io::{Cursor, Read},
};

use ratelimit_simulate::{LogReader, LogSettings, Simulation};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let log: Box<dyn Read> = match std::env::args().nth(1) {
        Some(path) => Box::new(File::open(path)?),
        None => Box::new(Cursor::new(made_up())),
    };
    let mut simulation = Simulation::new("api = '20/1m'".parse()?).with_search("1%".parse()?)?;
    let mut reader = LogReader::new(LogSettings::default())?;
    reader.read(log, &mut simulation)?;
    let counts = reader.finish(&mut simulation);
    println!("{} requests in {} lines", counts.requests, counts.lines);

    let report = simulation.report();
    for candidate in &report.candidates {
        let (name, denied, clients) = (&candidate.name, candidate.denied, candidate.clients_denied);
        println!("{name}: {denied} requests denied, of {clients} clients");
        for affected in &candidate.most_affected {
            println!("  {}: {}", affected.client, affected.denied);
        }
    }
    print!("the smallest limit that would do:\n{}", report.to_limits_file());
    Ok(())
}

/// A minute of two hundred clients: one asks every second, the others now and then.
fn made_up() -> String {
    let line = |client: u32, second: u32| {
        format!(
            "192.0.2.{client} - - [10/Oct/2025:13:55:{second:02} +0000] \"GET / HTTP/1.1\" 200 2326\n"
        )
    };
    (0..60).flat_map(|second| [line(1, second), line(2 + second * 3 % 199, second)]).collect()
}
