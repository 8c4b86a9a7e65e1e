//! An unreachable store, and a limit of this process in its place.
//!
//! `cargo run -p ratelimit-resilience --features tokio --example resilient`

use ratelimit_algorithms::{
    Backend, BackendError, Clock, ErrorKind, Limiter, MonotonicClock, Names, TokenBucket,
};
use ratelimit_backend::Reply;
use ratelimit_core::{Action, Batch};
use ratelimit_memory::Memory;
use ratelimit_resilience::{LocalLimits, OnFailure, Resilient};

/// Like an unreachable server.
#[derive(Default)]
struct Away(Names);

impl Backend for Away {
    fn apply<'a>(&'a self, _: Batch<'a>, _: Action) -> Reply<'a> {
        Reply::ready(Err(BackendError::not_applied(ErrorKind::Unavailable)))
    }

    fn names(&self) -> &Names {
        &self.0
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let local = LocalLimits::new(Memory::new()).with_limit("api", TokenBucket::per_hour(2))?;
    let store = Resilient::new(Away::default()).with_fallback(OnFailure::Local(local));
    let limiter = Limiter::new(store, "api", TokenBucket::per_hour(100))?;
    let clock = MonotonicClock::new();
    for _ in 0..3 {
        let asked = clock.now()?;
        let decision = limiter.check("user:42").await?;
        let (allowed, source) = (decision.is_allowed(), decision.source());
        println!("allowed: {allowed}, says the {source:?}, after {}", clock.now()? - asked);
    }
    Ok(())
}
