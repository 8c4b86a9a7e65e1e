//! The slot of a record in the table: the name of its policy and its key, and the hash of both.

use std::hash::{BuildHasher, Hasher, RandomState};

use ratelimit_core::{Key, Policy};

use crate::sync::TableSeed;

/// A slot to look up.
#[derive(Clone, Copy)]
pub(crate) struct HashedSlot<'a> {
    pub(crate) hash: u64,
    pub(crate) policy: &'a Policy,
    pub(crate) id: SlotKey,
}

/// The key of a slot: it tells apart the records of one policy.
///
/// A key of up to [`INLINE_MAX`] bytes is kept as it is; a longer one as its digest under two
/// keyed hashes whose keys nobody outside can know. Padded with zeros, and told apart by the last
/// byte: how long the key is, [`DIGEST`], or [`SENSOR`].
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) struct SlotKey(u64, u64, u64);

/// The same in 23 bytes, which need no alignment.
#[derive(Clone, Copy)]
pub(crate) struct StoredKey([u8; INLINE_MAX + 1]);

/// The longest key that is kept as it is.
const INLINE_MAX: usize = 22;

const DIGEST: u8 = 0xfe;

/// The load sensor that all keys of the policy share.
const SENSOR: u8 = 0xff;

/// The hash functions that turn keys into slots, seeded at random.
///
/// The hash folds a key's three words and its policy's name, two at a time: each pair is mixed with
/// a secret, multiplied to 128 bits, and the halves are combined. The secrets are drawn anew for
/// each table, and no hash is ever shown: so nobody outside can tell which keys will collide.
#[derive(Debug, Default)]
pub(crate) struct Hashers {
    table: TableSeed,
    digest: [RandomState; 2],
}

impl Hashers {
    /// The slot of a key, or of the sensor that all keys of the policy share.
    #[inline(always)]
    pub(crate) fn slot<'a>(&self, policy: &'a Policy, key: Option<Key<'_>>) -> HashedSlot<'a> {
        let id = match key.map(Key::as_bytes) {
            Some(key) if key.len() <= INLINE_MAX => SlotKey::inline(key),
            Some(key) => SlotKey::of(self.digest(key).into(), 0, DIGEST),
            None => SlotKey::of([0; 2], 0, SENSOR),
        };
        HashedSlot { hash: self.hash(policy, id), policy, id }
    }

    #[inline(always)]
    pub(crate) fn hash(&self, policy: &Policy, id: SlotKey) -> u64 {
        let SlotKey(first, second, third) = id;
        let mut hasher = self.table.build_hasher();
        hasher.write_u64(first);
        hasher.write_u64(second);
        hasher.write_u64(third);
        hasher.write_u64(policy.name_hash());
        hasher.finish()
    }

    /// Returns a pair, which comes back in registers: keys that need no digest would wait for
    /// memory.
    #[cold]
    fn digest(&self, key: &[u8]) -> (u64, u64) {
        (self.digest[0].hash_one(key), self.digest[1].hash_one(key))
    }
}

impl SlotKey {
    /// Packs sixteen bytes, six more, and their kind. The last word repeats the last of the
    /// sixteen, so that a stored key is read as three words that overlap.
    #[inline(always)]
    fn of([first, second]: [u64; 2], rest: u64, kind: u8) -> Self {
        Self(first, second, second >> 56 | rest << 8 | u64::from(kind) << 56)
    }

    /// Reads whole words, which may overlap: so there is no loop over the bytes.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "at most 22")]
    fn inline(key: &[u8]) -> Self {
        let length = key.len() as u8;
        let (Some(first), Some(last)) = (key.first_chunk(), key.last_chunk()) else {
            return Self::of([short(key), 0], 0, length);
        };
        let (first, last) = (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
        match key.get(8..).and_then(<[u8]>::first_chunk) {
            None => {
                let missing = 8 * (16 - u32::from(length));
                Self::of([first, last.checked_shr(missing).unwrap_or(0)], 0, length)
            }
            Some(second) => {
                let missing = 8 * (24 - u32::from(length));
                let rest = last.checked_shr(missing).unwrap_or(0);
                Self::of([first, u64::from_le_bytes(*second)], rest, length)
            }
        }
    }
}

/// Up to seven bytes.
#[inline]
fn short(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    bytes.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    u64::from_le_bytes(bytes)
}

impl From<SlotKey> for StoredKey {
    fn from(SlotKey(first, second, third): SlotKey) -> Self {
        let mut bytes = [0; INLINE_MAX + 1];
        let words = [(0, first), (8, second), (15, third)];
        words.into_iter().for_each(|(at, word)| {
            bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
        });
        Self(bytes)
    }
}

impl From<&StoredKey> for SlotKey {
    #[inline(always)]
    fn from(StoredKey(bytes): &StoredKey) -> Self {
        Self(word(bytes, 0), word(bytes, 8), word(bytes, 15))
    }
}

#[inline(always)]
fn word(bytes: &[u8; INLINE_MAX + 1], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
}

impl HashedSlot<'_> {
    /// Returns true if a record of `policy` under `id` is at this slot.
    #[inline(always)]
    pub(crate) fn is(&self, policy: &Policy, id: &StoredKey) -> bool {
        // Word by word: a comparison of the whole would go through memory.
        let (SlotKey(a, b, c), SlotKey(d, e, f)) = (self.id, id.into());
        ((a ^ d) | (b ^ e) | (c ^ f)) == 0 && self.policy.shares_name(policy)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use ratelimit_core::{Algorithm, fixed_window};

    use super::*;

    fn policy(name: &str) -> Policy {
        let second = std::time::Duration::from_secs(1);
        let quota = fixed_window::Quota::new(1, second, Default::default()).unwrap();
        Policy::new(name, Algorithm::from(quota)).unwrap()
    }

    // FAULTS 77.
    #[test]
    fn keys_of_any_length_and_content_have_places_of_their_own() {
        let (hashers, policy) = (Hashers::default(), policy("name"));
        let mut keys: Vec<Vec<u8>> = Vec::new();
        for length in 0..40 {
            keys.push(vec![0; length]);
            for position in 0..length {
                let mut key = vec![0; length];
                key[position] = 1;
                keys.push(key);
            }
        }
        keys.push(b"#".to_vec());
        let SlotKey(first, second, third) = hashers.slot(&policy, None).id;
        let mut slots = HashMap::from([([first, second, third], b"the sensor".to_vec())]);
        for key in keys {
            let slot = hashers.slot(&policy, Some(Key::new(&key).unwrap()));
            assert!(slot.is(&policy, &slot.id.into()), "{key:?} is not itself");
            let SlotKey(first, second, third) = slot.id;
            let other = slots.insert([first, second, third], key.clone());
            assert_eq!(other, None, "{key:?} has the slot of another");
        }
    }

    #[test]
    fn a_place_is_of_a_name_whichever_policy_has_it() {
        let hashers = Hashers::default();
        let [one, same, other] = ["one", "one", "other"].map(policy);
        let key = || Some(Key::new("key").unwrap());
        let slot = hashers.slot(&one, key());
        assert!(slot.is(&same, &slot.id.into()) && !slot.is(&other, &slot.id.into()));
        assert_eq!(slot.hash, hashers.slot(&same, key()).hash);
        assert!(!slot.is(&one, &hashers.slot(&one, None).id.into()));
    }

    /// An attacker who has found many keys that meet in one table has found nothing about another.
    #[test]
    // FAULTS 70.
    fn keys_that_collide_under_one_seed_do_not_under_another() {
        const SHARDS: u64 = 1 << 10;
        let [known, other] = [(); 2].map(|()| Hashers::default());
        let policy = policy("name");
        let hash = |hashers: &Hashers, number: u64| {
            hashers.slot(&policy, Key::new(&number.to_le_bytes()).ok()).hash
        };
        for shift in [0, 16, 54] {
            let part = |hashers, number| (hash(hashers, number) >> shift) % SHARDS;
            let collide = (0..1_000_000).filter(|&number| part(&known, number) == 7);
            let mut met = HashMap::<_, u32>::new();
            collide.for_each(|number| *met.entry(part(&other, number)).or_default() += 1);
            assert!(500 < met.len(), "{} slots", met.len());
            assert!(met.values().all(|&keys| keys < 12), "{:?}", met.values().max());
        }
    }
}
