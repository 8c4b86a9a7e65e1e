//! Beside redis-cell, the module that gives a Redis server a command for rate limiting.
//!
//! It is built from crates.io beside this program, and loaded into a server of its own. Where it
//! cannot be built, these rows are left out.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use fred::{
    clients::Client,
    interfaces::ClientLike,
    types::{CustomCommand, Value},
};
use ratelimit_servers::Server;

use super::{Coalescing, Site, handwritten, limiter};
use crate::{
    bench::Bench,
    concurrent::{self, Callers},
    row::Mark,
};

pub(super) fn rows(bench: &mut Bench<'_>, site: &Site) -> Result<()> {
    if bench.is_brief() {
        return Ok(());
    }
    for number in [1, 64] {
        row(bench, site, number)?;
    }
    Ok(())
}

fn row(bench: &mut Bench<'_>, Site { runtime, server }: &Site, number: usize) -> Result<()> {
    let name = format!("redis, {number} async callers: redis-cell");
    let callers = Callers { number, rate: Mark::None, p99: Mark::None };
    let beside = format!("redis-cell {VERSION}");
    // It is made when the row is wanted, and ends with it.
    let mut with_module = None;
    concurrent::race(bench, runtime, (&name, &beside), callers, || {
        let Some(server) = &**server else { return Ok(None) };
        let module = match build() {
            Ok(module) => module,
            Err(error) => {
                eprintln!("redis-cell: skipped, {error:#}");
                return Ok(None);
            }
        };
        let module = module.to_str().context("a folder of ours has a name in UTF-8")?;
        with_module = Server::start(&["--loadmodule", module]);
        let Some(with_module) = &with_module else { return Ok(None) };
        let limiter = runtime.block_on(limiter(server, Coalescing::On))?;
        let client = runtime.block_on(handwritten::client(with_module))?;
        let ours = move |key| concurrent::check(limiter.clone(), key);
        let theirs = move |key| throttle(client.clone(), key);
        Ok(Some((ours, theirs)))
    })
}

/// Takes one of a hundred million tokens, of which as many come back in a hundred million seconds.
async fn throttle(client: Client, key: Arc<str>) -> Result<()> {
    let command = CustomCommand::new_static("CL.THROTTLE", None, false);
    let arguments = [&*key, "99999999", "100000000", "100000000", "1"];
    let arguments: Vec<Value> = arguments.into_iter().map(Value::from).collect();
    let [is_limited, ..]: [i64; 5] = client.custom::<Vec<i64>, _>(command, arguments).await?[..]
        .try_into()
        .context("it answers with five numbers")?;
    ensure!(is_limited == 0, "denied");
    Ok(())
}

/// The module, as cargo makes it for a crate that depends on it.
fn build() -> Result<PathBuf> {
    let beside = env::current_exe()?.parent().context("this program is in a folder")?.to_owned();
    let folder = beside.join("redis-cell");
    fs::create_dir_all(folder.join("src"))?;
    fs::write(folder.join("src/lib.rs"), "")?;
    fs::write(folder.join("Cargo.toml"), format!("{MANIFEST}redis-cell = \"={VERSION}\"\n"))?;
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--target-dir", "target"]).current_dir(&folder);
    let status = cargo.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    ensure!(status.success(), "it cannot be built");
    let prefix = format!("{}redis_cell", env::consts::DLL_PREFIX);
    let made = fs::read_dir(folder.join("target/release/deps"))?;
    let is_module = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(&prefix) && name.ends_with(env::consts::DLL_SUFFIX)
    };
    made.filter_map(|entry| Some(entry.ok()?.path())).find(is_module).context("no module was made")
}

/// The latest on crates.io.
const VERSION: &str = "0.2.2";

/// Of a crate that only depends on it.
const MANIFEST: &str = r#"
[package]
name = "module"
edition = "2024"

[workspace]

[dependencies]
"#;
