//! A check without its limit: a lock, a lookup, three words written in place, and a result of
//! thirteen, in a table like our own, with keys inline and the same hash. It is the floor for
//! limiters of this kind. There are no marks here.

use std::{
    hash::{BuildHasher, Hasher},
    sync::{Mutex, PoisonError},
};

use anyhow::Result;
use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::{
    bench::{Bench, Title},
    row::{Mark, Unit},
    sample::{Sample, side},
    setup::{self, Keys, Outcome, SharedClock},
};

pub(crate) fn rows(bench: &mut Bench<'_>) -> Result<()> {
    for keys in [Keys::One, Keys::Many, Keys::Zipf] {
        row(bench, keys)?;
    }
    Ok(())
}

/// The nanoseconds that the table alone takes on one thread: no limiter takes less.
pub(crate) fn floor(bench: &Bench<'_>, keys: Keys) -> f64 {
    let lookup = Lookup::new();
    let asked = &keys.asked(bench.effort(if keys == Keys::Zipf { 1 << 20 } else { 1 << 16 }));
    keys.each().for_each(|key| lookup.insert(&key));
    let mut round = side(1, asked, |key| lookup.touch(key));
    Sample::new((0..bench.effort(ROUNDS)).map(|_| round()).collect()).median()
}

const ROUNDS: usize = 120;

fn row(bench: &mut Bench<'_>, keys: Keys) -> Result<()> {
    let name = format!("memory, {}, allowed: a lookup alone", keys.name());
    if !bench.wants(&name) {
        return Ok(());
    }
    let ours = setup::ours(SharedClock::new().0, Outcome::Allowed.bucket())?;
    let lookup = Lookup::new();
    let asked = &keys.asked(bench.effort(if keys == Keys::Zipf { 1 << 22 } else { 1 << 18 }));
    keys.each().for_each(|key| drop((ours.check(&key).now(), lookup.insert(&key))));
    let title = Title { name: &name, beside: "lock, look up, write", mark: Mark::None };
    bench.race(&title, Unit::Nanos, || {
        let check = side(1, asked, |key| ours.check(key.as_str()).now());
        (check, side(1, asked, |key| lookup.touch(key)))
    });
    Ok(())
}

/// As many shards as a store of a million keys has.
struct Lookup {
    shards: Box<[Shard]>,
    seed: RandomState,
}

#[repr(align(64))]
struct Shard(Mutex<HashTable<Entry>>);

/// 56 bytes.
struct Entry {
    key: [u64; 4],
    state: [u64; 3],
}

impl Lookup {
    fn new() -> Self {
        let shards = (0..1_214).map(|_| Shard(Mutex::new(HashTable::new()))).collect();
        Self { shards, seed: RandomState::default() }
    }

    fn insert(&self, key: &str) {
        let key = words(key);
        let hash = self.hash(key);
        let mut table = self.shard(hash).lock().unwrap_or_else(PoisonError::into_inner);
        table.insert_unique(hash, Entry { key, state: [0; 3] }, |entry| self.hash(entry.key));
    }

    #[inline(never)]
    fn touch(&self, key: &str) -> [u64; 13] {
        let [a, b, c, d] = words(key);
        let hash = self.hash([a, b, c, d]);
        let mut table = self.shard(hash).lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |entry: &Entry| {
            let [e, f, g, h] = entry.key;
            (a ^ e) | (b ^ f) | (c ^ g) | (d ^ h) == 0
        };
        let state = table.find_mut(hash, is_it).map_or([0; 3], |entry| {
            let [first, second, third] = entry.state;
            entry.state = [first.wrapping_add(1), second ^ first, third | hash];
            entry.state
        });
        drop(table);
        let [first, second, third] = state;
        [0, 0, d, first, second, 3, first, d, 1, d, third, second, 0]
    }

    #[inline(always)]
    fn hash(&self, key: [u64; 4]) -> u64 {
        let mut hasher = self.seed.build_hasher();
        key.iter().for_each(|&word| hasher.write_u64(word));
        hasher.finish()
    }

    #[inline(always)]
    fn shard(&self, hash: u64) -> &Mutex<HashTable<Entry>> {
        let bits = (hash >> 16) & u64::from(u32::MAX);
        &self.shards[((bits * self.shards.len() as u64) >> 32) as usize].0
    }
}

/// A key of 9 to 16 bytes, its length, and a number in place of a policy.
#[inline(always)]
fn words(key: &str) -> [u64; 4] {
    let (Some(first), Some(last)) = (key.as_bytes().first_chunk(), key.as_bytes().last_chunk())
    else {
        return [0; 4];
    };
    let [first, last] = [first, last].map(|word| u64::from_le_bytes(*word));
    let length = key.len() as u64;
    let rest = if length < 16 { last >> (128 - 8 * length) } else { last };
    [first, rest, length, 7]
}
