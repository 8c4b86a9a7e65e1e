//! Keys in tables of this crate: keyed digests, for keys are often secrets, and come from strangers.

use std::hash::{BuildHasher, RandomState};

use ratelimit_core::Key;

/// 128 bits under two keyed hashes whose keys nobody outside can know: no two keys are taken for
/// each other, and no key can be told from it.
pub(crate) type Digest = [u64; 2];

/// What makes digests; seeded at random.
#[derive(Default)]
pub(crate) struct Digests([RandomState; 2]);

impl Digests {
    /// The digest of a key under the policies of a name, or under all.
    pub(crate) fn of(&self, name: Option<&str>, key: Key<'_>) -> Digest {
        let [first, second] = &self.0;
        [first, second].map(|state| state.hash_one((name, key)))
    }
}
