//! Limits in a file, which is watched: edit it while this runs.
//!
//! `cargo run --example limits_file --features toml -- limits.toml`

use std::{error::Error, fs, io, path::Path, time::Duration};

use ratelimit_algorithms::{Limiter, LimitsFile};
use ratelimit_memory::Memory;

const LIMITS: &str = r#"api = "100/60s"

[login]
algorithm = "fixed_window"
limit = 5
window = "1m"
"#;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("the name of a file is missing")?;
    if !Path::new(&path).exists() {
        fs::write(&path, LIMITS)?;
    }
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
            let decision = limiter.check(&name)?;
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
