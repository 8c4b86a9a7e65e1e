//! Limits in a file, which is watched: edit it while this runs.
//!
//! `cargo run -p ratelimit-algorithms --features toml --example limits_file -- limits.toml`

use std::{env, error::Error, fs, io, path::PathBuf, process, time::Duration};

use ratelimit_algorithms::{Limiter, LimitsFile};
use ratelimit_memory::Memory;

const LIMITS: &str = r#"api = "100/60s"

[login]
algorithm = "fixed_window"
limit = 5
window = "1m"
"#;

fn main() -> Result<(), Box<dyn Error>> {
    let new = || env::temp_dir().join(format!("limits-{}.toml", process::id()));
    let path = env::args_os().nth(1).map_or_else(new, PathBuf::from);
    if !path.exists() {
        fs::write(&path, LIMITS)?;
    }
    println!("limits are in {}", path.display());
    let limits = LimitsFile::open(&path)?;
    let store = Memory::new();
    let api = Limiter::with_policies(store.clone(), limits.live("api")?)?;
    let login = Limiter::with_policies(store, limits.live("login")?)?;

    let _watch = limits.watch(Duration::from_secs(1), |outcome| match outcome {
        Ok(()) => println!("the limits are new"),
        Err(error) => println!("the limits stay: {error}"),
    })?;
    println!("enter a name to log in, or nothing to end");
    for name in io::stdin().lines() {
        let name = name?;
        if name.is_empty() {
            break;
        }
        for limiter in [&login, &api] {
            let decision = limiter.check(&name).now()?;
            let (left, limit) = (decision.remaining, decision.limit);
            println!(
                "{}: allowed {}, {left} left of {limit}",
                limiter.name(),
                decision.is_allowed()
            );
        }
    }
    Ok(())
}
