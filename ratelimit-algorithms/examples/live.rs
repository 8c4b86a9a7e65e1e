//! Limits that change while the service runs: by hand, and by the tier of a customer.
//!
//! `cargo run -p ratelimit-algorithms --example live`

use std::{
    collections::HashMap,
    error::Error,
    sync::{Arc, RwLock},
};

use ratelimit_algorithms::{Limiter, Live, Tier, Tiers, TokenBucket};
use ratelimit_memory::Memory;

fn main() -> Result<(), Box<dyn Error>> {
    let store = Memory::new();

    // An operator lowers a limit. The next check sees it.
    let uploads = Live::new("uploads", TokenBucket::per_minute(60))?;
    let limiter = Limiter::with_policies(store.clone(), uploads.clone())?;
    println!("uploads: {} left", limiter.check("user:42").now()?.remaining);
    uploads.update(TokenBucket::per_minute(6))?;
    println!("uploads, lowered: {} left", limiter.check("user:42").now()?.remaining);
    if let Err(error) = uploads.update(TokenBucket::per_minute(0)) {
        println!("uploads, still {}: {error}", uploads.current().limit());
    }

    // Customers have tiers, which their contracts name. A tier is looked up when a contract is
    // read, so that a wrong name is an error then.
    let tiers = Tiers::new("api", TokenBucket::per_second(10))?;
    tiers.add("pro", TokenBucket::per_second(100))?;
    tiers.add("acme", TokenBucket::per_second(1_000))?;
    let contracts: Arc<RwLock<HashMap<Vec<u8>, Tier>>> = Arc::default();
    let by_contract = {
        let contracts = contracts.clone();
        tiers.by_key(move |key| {
            contracts.read().ok().and_then(|all| all.get(key).copied()).unwrap_or(Tier::DEFAULT)
        })
    };
    let limiter = Limiter::with_policies(store, by_contract)?;
    println!("api: {} left", limiter.check("user:42").cost(3).now()?.remaining);

    // The customer upgrades: the key keeps its tokens, and refills faster, up to more.
    let pro = tiers.tier("pro")?;
    contracts.write().map_err(|error| error.to_string())?.insert(b"user:42".to_vec(), pro);
    let decision = limiter.check("user:42").now()?;
    println!("api, as pro: {} left of {}", decision.remaining, decision.limit);
    Ok(())
}
