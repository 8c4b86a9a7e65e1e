//! Keyed digests: what this crate's tables keep of keys, which are often secrets or hostile.

use std::hash::{BuildHasher, RandomState};

use ratelimit_core::Key;

/// 128 bits of two hashes with secret seeds. No two keys share one, and no key can be read from it.
pub(crate) type Digest = [u64; 2];

/// The two hash functions, seeded at random.
#[derive(Default)]
pub(crate) struct Digests([RandomState; 2]);

impl Digests {
    /// The digest of a key under the policies of a name, or under all policies.
    pub(crate) fn of(&self, name: Option<&str>, key: Key<'_>) -> Digest {
        let [first, second] = &self.0;
        [first, second].map(|state| state.hash_one((name, key)))
    }
}
