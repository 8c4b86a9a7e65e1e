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
    memory::rows(bench)?;
    lookup::rows(bench)?;
    resources::rows(bench)?;
    growth::rows(bench)?;
    scale::rows(bench)?;
    dashmap::rows(bench)?;
    algorithms::rows(bench)?;
    composite::rows(bench)?;
    awaited::rows(bench)?;
    leased::rows(bench)?;
    peers::rows(bench)?;
    sqlite::rows(bench)?;
    redis::rows(bench)?;
    http::rows(bench)?;
    simulate::rows(bench)?;
    python::rows(bench)
}

/// Runs the probe of that name, in a process of its own.
pub(crate) fn probe(name: &str) -> Result<()> {
    match name.strip_prefix(sqlite::PROBE) {
        Some(rest) => sqlite::probe(rest),
        None => resources::probe(name),
    }
}
