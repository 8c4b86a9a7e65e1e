//! All rows, by subject. A new subject is a module here, with a line in [`all`].

mod algorithms;
mod awaited;
mod composite;
mod dashmap;
mod growth;
mod http;
mod leased;
mod lookup;
mod memory;
mod peers;
mod python;
mod redis;
mod resources;
mod scale;
mod simulate;
mod sqlite;

use anyhow::Result;

use crate::bench::Bench;

/// Measures every row that was asked for.
pub(crate) fn all(bench: &mut Bench<'_>) -> Result<()> {
    for (question, rows) in SUBJECTS {
        bench.ask(question);
        rows(bench)?;
    }
    Ok(())
}

type Rows = fn(&mut Bench<'_>) -> Result<()>;

const SUBJECTS: [(&str, Rows); 16] = [
    ("Is a check in memory quicker than governor's?", memory::rows),
    ("How much of a check is the limit, and how much the table?", lookup::rows),
    ("What does a check take besides time?", resources::rows),
    ("What do keys cost that come and go?", growth::rows),
    ("What grows with what?", scale::rows),
    ("Does a dashmap serve as well as mutexes?", dashmap::rows),
    ("What do the other algorithms cost?", algorithms::rows),
    ("What do several limits cost that are checked as one?", composite::rows),
    ("What does it cost to await a store that is ready?", awaited::rows),
    ("Is a leased permit as quick as one in memory?", leased::rows),
    ("How do we stand beside other crates?", peers::rows),
    ("Is SQLite quicker than a loop by hand?", sqlite::rows),
    ("Is Redis as quick as a script by hand?", redis::rows),
    ("What does the layer add to a request?", http::rows),
    ("Is a simulation quicker than a count by awk?", simulate::rows),
    ("How much quicker is it than the Python library?", python::rows),
];

/// Runs the probe of that name, in a process of its own.
pub(crate) fn probe(name: &str) -> Result<()> {
    match name.strip_prefix(sqlite::PROBE) {
        Some(rest) => sqlite::probe(rest),
        None => resources::probe(name),
    }
}
