//! The cost of a check for a caller that comes alone, and for one of many. Beside others: `cargo xtask
//! bench redis`.

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use ratelimit_algorithms::{Limiter, TokenBucket};
use ratelimit_redis::{Redis, RedisSettings};
use ratelimit_servers::Server;
use tokio::{runtime::Runtime, task::JoinSet};

fn checks(criterion: &mut Criterion) {
    let Some(server) = Server::start(&[]) else { return };
    let runtime = Runtime::new().expect("threads can be made");
    let settings = RedisSettings::new(&server.url()).expect("the URL is good");
    let settings = settings.with_deadline(Duration::from_secs(10));
    let store = runtime.block_on(settings.connect()).expect("the server is up");
    let bucket = TokenBucket::per_minute(1).burst(100_000_000);
    let limiter = Limiter::new(store, "bench", bucket).expect("good numbers");
    for callers in [1, 64] {
        let name = format!("allowed, {callers} callers");
        criterion.bench_function(&name, |bencher| {
            bencher.iter_custom(|checks| runtime.block_on(spend(&limiter, callers, checks)));
        });
    }
}

/// The time that so many checks take, shared out among callers.
async fn spend(limiter: &Limiter<Redis>, callers: u64, checks: u64) -> Duration {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let limiter = limiter.clone();
        tasks.spawn(async move {
            for _ in 0..checks.div_ceil(callers) {
                let _ = limiter.check("user:0000042").await.expect("the server decides");
            }
        });
    }
    tasks.join_all().await;
    began.elapsed()
}

criterion_group!(benches, checks);
criterion_main!(benches);
