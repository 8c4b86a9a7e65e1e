//! Something for each limiter, found by its name without a lock.
//!
//! A table of places that are filled once and never emptied: finding a known limiter takes a hash,
//! a load and a comparison of names. There is room for 256; what any more do is put together under
//! a name that no limiter can have.

use std::{fmt, hash::BuildHasher, sync::OnceLock};

use foldhash::fast::RandomState;
use ratelimit_core::Policy;

/// A `T` for each limiter.
pub(crate) struct ByLimiter<T> {
    places: Box<[OnceLock<Box<Entry<T>>>]>,
    rest: OnceLock<Box<Entry<T>>>,
    hasher: RandomState,
}

/// A limiter's own. One whose algorithm changes has one of these for each.
#[derive(Debug)]
pub(crate) struct Entry<T> {
    pub(crate) limiter: Box<str>,
    pub(crate) algorithm: &'static str,
    pub(crate) value: T,
}

impl<T> ByLimiter<T> {
    pub(crate) fn new() -> Self {
        let places = (0..PLACES).map(|_| OnceLock::new()).collect();
        Self { places, rest: OnceLock::new(), hasher: RandomState::default() }
    }

    /// The limiter's own, made by `make` of its name and algorithm if it is new.
    pub(crate) fn get(&self, policy: &Policy, make: impl Fn(&str, &'static str) -> T) -> &T {
        let (limiter, algorithm) = (policy.name(), policy.algorithm().name());
        let entry = |limiter: &str, algorithm| {
            Box::new(Entry { limiter: limiter.into(), algorithm, value: make(limiter, algorithm) })
        };
        let home = self.hasher.hash_one(limiter);
        for step in 0..PLACES {
            // The number of places is a power of two, and fits.
            #[expect(clippy::cast_possible_truncation, reason = "only the low bits are looked at")]
            let place = &self.places[(home as usize).wrapping_add(step) & (PLACES - 1)];
            let found = place.get_or_init(|| entry(limiter, algorithm));
            if *found.limiter == *limiter && found.algorithm == algorithm {
                return &found.value;
            }
        }
        &self.rest.get_or_init(|| entry(REST, REST)).value
    }

    /// All that there are, by name.
    pub(crate) fn all(&self) -> Vec<&Entry<T>> {
        let places = self.places.iter().chain([&self.rest]);
        let mut all: Vec<_> = places.filter_map(OnceLock::get).map(|entry| &**entry).collect();
        all.sort_unstable_by_key(|entry| (&entry.limiter, entry.algorithm));
        all
    }
}

/// More limiters than anybody writes; a power of two.
const PLACES: usize = 256;

/// No name: parentheses are not in the alphabet of names.
const REST: &str = "(rest)";

impl<T> fmt::Debug for ByLimiter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.all().into_iter().map(|entry| &entry.limiter);
        f.debug_set().entries(names).finish()
    }
}
