//! A map from limiters to their values, read without a lock.
//!
//! It is a table of places that are filled once and never emptied: to find a known limiter takes a
//! hash that its policy has, a load and a comparison of names. It has room for 256 limiters; all
//! others share one value, under a name that no limiter can have.

use std::{
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use ratelimit_core::Policy;

/// A `T` for each limiter.
pub(crate) struct LimiterMap<T> {
    places: Box<[OnceLock<Box<Entry<T>>>]>,
    taken: AtomicUsize,
    rest: OnceLock<Box<Entry<T>>>,
}

/// The value of a limiter. A limiter whose algorithm changes has one for each.
#[derive(Debug)]
pub(crate) struct Entry<T> {
    pub(crate) limiter: Box<str>,
    pub(crate) algorithm: &'static str,
    pub(crate) value: T,
}

impl<T> LimiterMap<T> {
    pub(crate) fn new() -> Self {
        let places = (0..PLACES).map(|_| OnceLock::new()).collect();
        Self { places, taken: AtomicUsize::new(0), rest: OnceLock::new() }
    }

    /// Returns the value of a limiter, made by `make` of its name and algorithm if it is new.
    pub(crate) fn get(&self, policy: &Policy, make: impl Fn(&str, &'static str) -> T) -> &T {
        let (limiter, algorithm) = (policy.name(), policy.algorithm().name());
        let mut index = home(policy);
        // More than half of the places stay empty, so the loop ends, and soon.
        while let Some(entry) = self.places[index].get() {
            if *entry.limiter == *limiter && entry.algorithm == algorithm {
                return &entry.value;
            }
            index = (index + 1) % PLACES;
        }
        self.insert(index, policy, make)
    }

    /// Puts the value of a new limiter at an empty place, or behind it where others are faster.
    #[cold]
    fn insert(&self, index: usize, policy: &Policy, make: impl Fn(&str, &'static str) -> T) -> &T {
        if LIMITERS_MAX <= self.taken.load(Ordering::Relaxed) {
            return &self.rest.get_or_init(|| entry(REST, REST, &make)).value;
        }
        let mut is_new = false;
        let found = self.places[index].get_or_init(|| {
            is_new = true;
            entry(policy.name(), policy.algorithm().name(), &make)
        });
        if is_new {
            self.taken.fetch_add(1, Ordering::Relaxed);
            return &found.value;
        }
        self.get(policy, make)
    }

    /// Returns all values, ordered by the names of their limiters.
    pub(crate) fn all(&self) -> Vec<&Entry<T>> {
        let places = self.places.iter().chain([&self.rest]);
        let mut all: Vec<_> = places.filter_map(OnceLock::get).map(|entry| &**entry).collect();
        all.sort_unstable_by_key(|entry| (&entry.limiter, entry.algorithm));
        all
    }
}

fn entry<T>(
    limiter: &str,
    algorithm: &'static str,
    make: impl Fn(&str, &'static str) -> T,
) -> Box<Entry<T>> {
    Box::new(Entry { limiter: limiter.into(), algorithm, value: make(limiter, algorithm) })
}

/// Returns the index of the place where a limiter is looked for first.
fn home(policy: &Policy) -> usize {
    // The high bits of the product depend on all bits of the hash.
    let mixed = policy.name_hash().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    (mixed % PLACES as u64) as usize
}

/// More limiters than anybody writes.
const LIMITERS_MAX: usize = 256;

/// So many that a limiter is found at its first or second place. A few threads may insert at once,
/// and pass the maximum; they never fill the table.
const PLACES: usize = 1024;

/// Not a name of a limiter: names have no parentheses.
const REST: &str = "(rest)";

impl<T> fmt::Debug for LimiterMap<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.all().into_iter().map(|entry| &entry.limiter);
        f.debug_set().entries(names).finish()
    }
}
