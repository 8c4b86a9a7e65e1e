//! The table of keys: bounded, without a task or a timer.
//!
//! Each key has eight places, which it shares with other keys: a *set*, behind one mutex. A new key takes the
//! place of the one with the least demand that has no lease. If all eight have one, it is not counted, and
//! its requests go to the store. So the table is full at its capacity, and no flood of keys ends a lease.

use std::{
    fmt,
    hash::{BuildHasher, Hasher},
    num::NonZeroUsize,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use ratelimit_core::{Check, Key, LeaseTerms, Policy, Receipt, Timestamp};

use crate::{
    entry::{Drawn, Entry, Take, Tally, Unused},
    length::LeaseLength,
    stats::Counters,
};

/// The entries of keys.
pub(crate) struct Table {
    hasher: foldhash::fast::RandomState,
    sets: Box<[Mutex<Set>]>,
    pub(crate) counters: Counters,
    length: LeaseLength,
    held_max: AtomicU64,
    /// The number of takes so far.
    takes: AtomicU64,
}

/// Some keys, and their hashes apart: most of them need not be looked at.
#[derive(Default)]
struct Set {
    hashes: [u64; WAYS],
    places: Vec<Place>,
}

struct Place {
    key: Box<[u8]>,
    entry: Entry,
}

/// A check with a key of its own.
#[derive(Debug)]
pub(crate) struct OwnedCheck {
    pub(crate) policy: Policy,
    pub(crate) key: Box<[u8]>,
    pub(crate) cost: u64,
    pub(crate) receipt: Option<Receipt>,
}

impl OwnedCheck {
    /// The check; `None` if its policy can never admit the cost.
    pub(crate) fn check(&self) -> Option<Check<'_>> {
        let check = Check::new(&self.policy, Key::new(&self.key).ok()?, self.cost).ok()?;
        Some(check.with_receipt(self.receipt))
    }
}

impl Table {
    /// A table of at most `keys_max` keys, rounded up to a power of two from eight on.
    pub(crate) fn new(keys_max: NonZeroUsize, length: LeaseLength) -> Self {
        let sets = keys_max.get().div_ceil(WAYS).next_power_of_two();
        let sets = (0..sets).map(|_| Mutex::default()).collect();
        let [held_max, takes] = [u64::MAX, 0].map(AtomicU64::new);
        let (hasher, counters) = (Default::default(), Counters::default());
        Self { hasher, sets, counters, length, held_max, takes }
    }

    pub(crate) const fn length(&self) -> LeaseLength {
        self.length
    }

    /// Sets the most permits that are held of one key, if the terms of a lease say more.
    pub(crate) fn limit_held(&self, permits: u64) {
        // Relaxed: it is set before there are leases.
        self.held_max.store(permits, Ordering::Relaxed);
    }

    /// Admits a check from a lease. `None` changes nothing: there are no permits.
    #[inline(always)]
    pub(crate) fn draw(&self, check: &Check<'_>, now: Timestamp) -> Option<Drawn> {
        let hash = self.hash(check);
        let mut set = self.lock(hash);
        let entry = set.find(hash, check).filter(|entry| entry.is_under(check))?;
        entry.draw(check.cost().get(), now)
    }

    /// Counts a check that the store is to decide. A changed policy ends the key's leases.
    pub(crate) fn count(&self, check: &Check<'_>, now: Timestamp) {
        let Some(terms) = self.terms(check) else { return };
        let mut tally = Tally::default();
        let hash = self.hash(check);
        let mut set = self.lock(hash);
        let fresh = || Entry::new(check.policy().clone(), terms, now);
        let entry = match set.find(hash, check) {
            Some(entry) if entry.is_under(check) => Some(entry),
            Some(entry) => {
                entry.end(&mut tally);
                *entry = fresh();
                Some(entry)
            }
            None => set.insert(hash, check, fresh(), (now, &mut tally)),
        };
        if let Some(entry) = entry {
            entry.count(check.cost().get(), now);
        }
        drop(set);
        self.counters.add(tally);
    }

    /// Returns true if a check could be admitted here, now or after a take.
    pub(crate) fn can_serve(&self, check: &Check<'_>, now: Timestamp) -> bool {
        let hash = self.hash(check);
        let mut set = self.lock(hash);
        let entry = set.find(hash, check).filter(|entry| entry.is_under(check));
        entry.is_some_and(|entry| entry.can_serve(check.cost().get(), now))
    }

    /// Begins a take for the key of a check, if it is time for one.
    pub(crate) fn begin_take(&self, check: &Check<'_>, now: Timestamp) -> Option<Take> {
        let mut take = None;
        // Relaxed: a number need only be another one.
        let number = self.takes.fetch_add(1, Ordering::Relaxed);
        self.update(check, |entry, tally| {
            if entry.is_under(check) {
                take = entry.begin_take(number, now, tally);
            }
        });
        take
    }

    /// Changes the entry of a check's key, if there is one.
    pub(crate) fn update(&self, check: &Check<'_>, change: impl FnOnce(&mut Entry, &mut Tally)) {
        let mut tally = Tally::default();
        let hash = self.hash(check);
        if let Some(entry) = self.lock(hash).find(hash, check) {
            change(entry, &mut tally);
        }
        self.counters.add(tally);
    }

    /// Takes unused permits out of entries, of at most `keys_max` keys; `take_out` says which.
    pub(crate) fn collect<I: Iterator<Item = Unused>>(
        &self,
        keys_max: usize,
        mut take_out: impl FnMut(&mut Entry) -> I,
    ) -> Vec<OwnedCheck> {
        let mut collected = Vec::new();
        for set in &self.sets {
            for Place { key, entry } in &mut lock(set).places {
                if keys_max <= collected.len() {
                    return collected;
                }
                for Unused { permits, receipt } in take_out(entry) {
                    let (policy, key) = (entry.policy().clone(), key.clone());
                    let receipt = Some(receipt);
                    collected.push(OwnedCheck { policy, key, cost: permits, receipt });
                }
            }
        }
        collected
    }

    /// The terms of leases for a check; `None` if there can be none.
    fn terms(&self, check: &Check<'_>) -> Option<LeaseTerms> {
        let length = self.length.under(check.policy());
        let terms = LeaseTerms::new(check.policy(), length)
            .ok()?
            .with_held_max(self.held_max.load(Ordering::Relaxed));
        (1 < terms.held_max()).then_some(terms)
    }

    #[inline(always)]
    fn hash(&self, check: &Check<'_>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u64(check.policy().name_hash());
        hasher.write(check.key().as_bytes());
        hasher.finish()
    }

    #[inline(always)]
    fn lock(&self, hash: u64) -> MutexGuard<'_, Set> {
        let index = (hash >> 32) as usize & (self.sets.len() - 1);
        lock(&self.sets[index])
    }
}

impl Set {
    #[inline(always)]
    fn find(&mut self, hash: u64, check: &Check<'_>) -> Option<&mut Entry> {
        let Self { hashes, places } = self;
        let place =
            hashes.iter().zip(places).find(|(known, place)| **known == hash && place.is_of(check));
        place.map(|(_, place)| &mut place.entry)
    }

    /// Adds an entry; `None` if there is no place for it.
    fn insert(
        &mut self,
        hash: u64,
        check: &Check<'_>,
        entry: Entry,
        (now, tally): (Timestamp, &mut Tally),
    ) -> Option<&mut Entry> {
        let place = Place { key: check.key().as_bytes().into(), entry };
        let index = if self.places.len() < WAYS {
            self.places.push(place);
            self.places.len() - 1
        } else {
            let free = self.places.iter().enumerate().filter(|(_, at)| !at.entry.is_live(now));
            let (index, _) = free.min_by_key(|(_, at)| at.entry.demand(now))?;
            self.places[index].entry.end(tally);
            self.places[index] = place;
            index
        };
        self.hashes[index] = hash;
        Some(&mut self.places[index].entry)
    }
}

impl Place {
    #[inline(always)]
    fn is_of(&self, check: &Check<'_>) -> bool {
        *self.key == *check.key().as_bytes() && self.entry.policy().shares_name(check.policy())
    }
}

/// Locks a set even if poisoned: no caller's code runs under the lock.
#[inline(always)]
fn lock(set: &Mutex<Set>) -> MutexGuard<'_, Set> {
    set.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shows how many keys there may be, and none of them.
impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys_max = self.sets.len() * WAYS;
        f.debug_struct("Table").field("keys_max", &keys_max).finish_non_exhaustive()
    }
}

/// The places of a set.
const WAYS: usize = 8;
