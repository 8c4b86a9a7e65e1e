//! The cost of a check in a file that is there, allowed and denied. Beside others and with many
//! callers: `cargo xtask bench sqlite`.

use criterion::{Criterion, criterion_group, criterion_main};
use ratelimit_algorithms::{Limiter, TokenBucket};
use ratelimit_sqlite::Sqlite;

fn checks(criterion: &mut Criterion) {
    check(criterion, "allowed", TokenBucket::per_minute(1).burst(100_000_000));
    check(criterion, "denied", TokenBucket::per_hour(1));
}

fn check(criterion: &mut Criterion, name: &str, bucket: TokenBucket) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let store = Sqlite::open(folder.path().join("limits.db")).expect("a file can be made");
    let limiter = Limiter::new(store, "bench", bucket).expect("good numbers");
    let _ = limiter.check("user:0000042").now().expect("the store answers");
    criterion.bench_function(name, |bencher| bencher.iter(|| limiter.check("user:0000042").now()));
}

criterion_group!(benches, checks);
criterion_main!(benches);
