//! The cost of a check of a known key, and of a lookup in dashmap.

use std::{collections::HashMap, hint::black_box, num::NonZeroUsize, sync::Mutex, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use dashmap::DashMap;
use foldhash::quality::RandomState;
use ratelimit_backend::{Clock, ManualClock, SyncBackend};
use ratelimit_core::{Action, Batch, Check, Key, Policy, token_bucket};
use ratelimit_memory::{Memory, SwiftClock};

/// A check of one hot key, under a clock that stands, and under the store's own.
fn checks(criterion: &mut Criterion) {
    check(criterion, "check, clock stands", ManualClock::default());
    check(criterion, "check", SwiftClock::new());
}

fn check(criterion: &mut Criterion, name: &str, clock: impl Clock) {
    let quota = token_bucket::Quota::new(100_000_000, 1, Duration::from_secs(1));
    let policy = Policy::new("bench", quota.expect("good numbers")).expect("a good name");
    let memory = Memory::with_clock(clock, NonZeroUsize::MIN);
    let key = Key::new("user:0000042").expect("a short key");
    criterion.bench_function(name, |bencher| {
        bencher.iter(|| {
            let check = Check::new(&policy, black_box(key), 1).expect("a cost that fits");
            memory.apply_now(Batch::one(&check), Action::Spend)
        });
    });
}

/// The table alone: 10 000 keys of 24 bytes, as many shards, the same hash; one number changed
/// under the lock.
fn tables(criterion: &mut Criterion) {
    let keys: Vec<[u8; 24]> = (0..10_000_u64).map(key).collect();
    let dashmap = DashMap::with_hasher_and_shard_amount(RandomState::default(), 64);
    let mutexes: Vec<_> =
        (0..64).map(|_| Mutex::new(HashMap::<_, _, RandomState>::default())).collect();
    for &key in &keys {
        dashmap.insert(key, 0_u64);
        mutexes[shard(&key)].lock().expect("nothing panics").insert(key, 0_u64);
    }
    let mut group = criterion.benchmark_group("a number under the lock of its shard");
    let mut asked = keys.iter().cycle();
    group.bench_function("dashmap", |bencher| {
        bencher.iter(|| dashmap.get_mut(asked.next()?).map(|mut number| *number += 1));
    });
    let mut asked = keys.iter().cycle();
    group.bench_function("mutex and hash table", |bencher| {
        bencher.iter(|| {
            let key = asked.next()?;
            let mut shard = mutexes[shard(key)].lock().expect("nothing panics");
            shard.get_mut(key).map(|number| *number += 1)
        });
    });
}

fn key(number: u64) -> [u8; 24] {
    let mut key = [7; 24];
    key[..8].copy_from_slice(&number.to_le_bytes());
    key
}

/// Of consecutive numbers, as even as any hash.
fn shard(key: &[u8; 24]) -> usize {
    usize::from(key[0]) % 64
}

criterion_group!(benches, checks, tables);
criterion_main!(benches);
