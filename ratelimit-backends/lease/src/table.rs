//! The table of keys: bounded, without a task or a timer.
//!
//! Each key has eight places, which it shares with other keys: a *set*, behind one mutex. A new key takes the
//! place of the one with the least demand that has no lease. If all eight have one, it is not counted, and
//! its requests go to the store. So the table is full at its capacity, and no flood of keys ends a lease.
//!
//! A set tells without its mutex which keys have permits. So a request of a key that has none locks it once:
//! to count the demand.

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
    sets: Box<[Set]>,
    pub(crate) counters: Counters,
    length: LeaseLength,
    held_max: AtomicU64,
    /// The number of takes so far.
    takes: AtomicU64,
}

/// Some keys. What is beside the mutex is changed under it, and read without it to save a search.
#[derive(Default)]
struct Set {
    /// The hash of the key in each place: most keys need not be looked at.
    hashes: [AtomicU64; WAYS],
    /// The first instant at which that key has no permits here, in microseconds.
    until: [AtomicU64; WAYS],
    places: Mutex<Vec<Place>>,
}

/// A set whose mutex is locked.
struct LockedSet<'a> {
    set: &'a Set,
    places: MutexGuard<'a, Vec<Place>>,
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
        let sets = (0..sets).map(|_| Set::default()).collect();
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

    /// Admits a check from a lease. `None` changes nothing: there are no permits. A set is locked only if the key
    /// most likely has some: the last one that is used is noted with the next change of the entry.
    #[inline(always)]
    pub(crate) fn draw(&self, check: &Check<'_>, now: Timestamp) -> Option<Drawn> {
        let hash = self.hash(check);
        let set = self.set(hash);
        let index = set.with_permits(hash, now)?;
        let mut set = self.lock(set);
        let place = set.places.get_mut(index).filter(|place| place.is_of(check))?;
        let entry = Some(&mut place.entry).filter(|entry| entry.is_under(check))?;
        entry.draw(check.cost().get(), now)
    }

    /// Counts a check that the store is to decide. A changed policy ends the key's leases.
    ///
    /// Returns true if the key is hot or has permits: then the entry has use for what the store decides.
    pub(crate) fn count(&self, check: &Check<'_>, now: Timestamp) -> bool {
        let Some(terms) = self.terms(check) else { return false };
        let mut tally = Tally::default();
        let hash = self.hash(check);
        let mut set = self.lock(self.set(hash));
        let fresh = || Entry::new(check.policy().clone(), terms, now);
        let index = match set.find(hash, check) {
            Some(index) => {
                let entry = &mut set.places[index].entry;
                if !entry.is_under(check) {
                    entry.end(&mut tally);
                    *entry = fresh();
                    set.note(index);
                }
                Some(index)
            }
            None => set.insert(hash, check, fresh(), (now, &mut tally)),
        };
        let is_warm = index.is_some_and(|index| {
            let entry = &mut set.places[index].entry;
            entry.count(check.cost().get(), now);
            entry.is_warm(now)
        });
        drop(set);
        self.counters.add(tally);
        is_warm
    }

    /// Returns true if a check could be admitted here, now or after a take.
    pub(crate) fn can_serve(&self, check: &Check<'_>, now: Timestamp) -> bool {
        let hash = self.hash(check);
        let set = self.lock(self.set(hash));
        let Some(index) = set.find(hash, check) else { return false };
        let entry = &set.places[index].entry;
        entry.is_under(check) && entry.can_serve(check.cost().get(), now)
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
        let mut set = self.lock(self.set(hash));
        if let Some(index) = set.find(hash, check) {
            change(&mut set.places[index].entry, &mut tally);
            set.note(index);
        }
        drop(set);
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
            let mut set = self.lock(set);
            for index in 0..set.places.len() {
                if keys_max <= collected.len() {
                    return collected;
                }
                let Place { key, entry } = &mut set.places[index];
                for Unused { permits, receipt } in take_out(entry) {
                    let (policy, key) = (entry.policy().clone(), key.clone());
                    let receipt = Some(receipt);
                    collected.push(OwnedCheck { policy, key, cost: permits, receipt });
                }
                set.note(index);
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
    fn set(&self, hash: u64) -> &Set {
        &self.sets[(hash >> 32) as usize & (self.sets.len() - 1)]
    }

    /// Locks a set even if poisoned: no caller's code runs under the lock. Every look at an entry begins so.
    #[inline(always)]
    fn lock<'a>(&self, set: &'a Set) -> LockedSet<'a> {
        #[cfg(test)]
        self.counters.add_lookup();
        LockedSet { set, places: set.places.lock().unwrap_or_else(PoisonError::into_inner) }
    }
}

impl Set {
    /// The place of a key that most likely has permits, without the mutex.
    #[inline(always)]
    fn with_permits(&self, hash: u64, now: Timestamp) -> Option<usize> {
        // Relaxed: under the mutex it is looked at again, and who comes late asks the store.
        let is_of = |known: &AtomicU64| known.load(Ordering::Relaxed) == hash;
        let index = self.hashes.iter().position(is_of)?;
        (now.as_micros() < self.until[index].load(Ordering::Relaxed)).then_some(index)
    }
}

impl LockedSet<'_> {
    #[inline(always)]
    fn find(&self, hash: u64, check: &Check<'_>) -> Option<usize> {
        let mut places = self.set.hashes.iter().zip(&*self.places);
        places
            .position(|(known, place)| known.load(Ordering::Relaxed) == hash && place.is_of(check))
    }

    /// Adds an entry; `None` if there is no place for it.
    fn insert(
        &mut self,
        hash: u64,
        check: &Check<'_>,
        entry: Entry,
        (now, tally): (Timestamp, &mut Tally),
    ) -> Option<usize> {
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
        self.set.hashes[index].store(hash, Ordering::Relaxed);
        self.note(index);
        Some(index)
    }

    /// Notes until when the key in a place has permits, after a change.
    fn note(&self, index: usize) {
        let until = self.places[index].entry.has_permits_until();
        self.set.until[index].store(until.as_micros(), Ordering::Relaxed);
    }
}

impl Place {
    #[inline(always)]
    fn is_of(&self, check: &Check<'_>) -> bool {
        *self.key == *check.key().as_bytes() && self.entry.policy().shares_name(check.policy())
    }
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
