//! axum on a loopback socket under wrk, bare and behind a layer, by turns.

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
};

use anyhow::{Context, Result};
use axum::Router;
use tokio::{net::TcpListener, runtime::Runtime};

use super::{bare, constant, governor, ours};
use crate::{
    bench::{Bench, Title, turns},
    row::{Mark, Unit},
    sample::Sample,
    setup::Outcome,
};

pub(super) fn rows(bench: &mut Bench<'_>) -> Result<()> {
    let names = [
        "http, axum under wrk",
        "http, axum under wrk: three constant headers",
        "http, axum under wrk: tower_governor",
    ];
    let [beside_bare, beside_constant, beside_governor] = names;
    if !names.iter().any(|name| bench.wants(name)) {
        return Ok(());
    }
    if Command::new("wrk").arg("-v").stdout(Stdio::null()).status().is_err() {
        eprintln!("{beside_bare}: skipped, for there is no wrk on the path");
        return Ok(());
    }
    let runtime = Runtime::new()?;
    let serve = |app: Router| runtime.block_on(serve(app));
    let ours = serve(ours(Outcome::Allowed)?)?;
    row(bench, beside_bare, ours, ("bare axum", serve(bare())?), Mark::AtLeast(0.95))?;
    if bench.is_brief() {
        return Ok(());
    }
    let constant = ("a layer of three constant headers", serve(constant())?);
    row(bench, beside_constant, ours, constant, Mark::None)?;
    let theirs = serve(governor(Outcome::Allowed)?)?;
    row(bench, beside_governor, ours, ("tower_governor", theirs), Mark::None)
}

fn row(
    bench: &mut Bench<'_>,
    name: &str,
    ours: SocketAddr,
    (beside, theirs): (&str, SocketAddr),
    mark: Mark,
) -> Result<()> {
    if !bench.wants(name) {
        return Ok(());
    }
    // What has no mark is there to be compared with, and may be coarser.
    let rounds = if mark == Mark::None { ROUNDS / 2 } else { ROUNDS };
    let (ours, theirs) = turns(bench.effort(rounds), || load(ours), || load(theirs));
    let [ours, theirs] = [ours, theirs].map(|rounds| rounds.into_iter().collect::<Result<_>>());
    let title = Title { name, beside, mark };
    bench.add(&title, Unit::PerSecond, Sample::new(ours?), Some(Sample::new(theirs?)));
    Ok(())
}

/// Serves until the runtime ends.
async fn serve(app: Router) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

/// Requests a second, as wrk counts them.
fn load(address: SocketAddr) -> Result<f64> {
    let url = format!("http://{address}/");
    let output = Command::new("wrk").args(["-t1", "-c32", "-d1s", &url]).output()?;
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    let rate = report.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    Ok(rate.with_context(|| report.clone())?.trim().parse()?)
}

const ROUNDS: usize = 8;
