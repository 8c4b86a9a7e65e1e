//! Where a record is in the table: the name of its policy and its key, and the hash of both.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use ratelimit_core::{Policy, Slot};

/// The place of a record that somebody is looking for.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) hash: u64,
    policy: &'a Policy,
    part: Part,
}

/// The place of a record that is stored; its hash is that of [`Place::hash`].
pub(crate) struct StoredPlace {
    policy: Policy,
    part: Part,
}

/// Which of a policy's records, in a constant number of bytes.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
enum Part {
    /// A short key, padded with zeros.
    Key { length: u8, bytes: [u8; INLINE_MAX] },
    /// A longer key's digest under two keyed hashes whose keys nobody outside can know.
    Digest([u64; 2]),
    /// The load sensor that all keys of the policy share.
    Sensor,
}

/// The longest key that is kept as it is.
const INLINE_MAX: usize = 22;

/// What turns slots into places; seeded at random.
#[derive(Debug, Default)]
pub(crate) struct Hashers {
    pub(crate) table: foldhash::quality::RandomState,
    digest: [RandomState; 2],
}

impl Hashers {
    pub(crate) fn place<'a>(&self, slot: Slot<'a>) -> Place<'a> {
        let part = match slot.key {
            None => Part::Sensor,
            Some(key) => self.part(key.as_bytes()),
        };
        let mut hasher = self.table.build_hasher();
        hash(slot.policy, &part, &mut hasher);
        Place { hash: hasher.finish(), policy: slot.policy, part }
    }

    fn part(&self, key: &[u8]) -> Part {
        let mut bytes = [0; INLINE_MAX];
        match (bytes.get_mut(..key.len()), u8::try_from(key.len())) {
            (Some(start), Ok(length)) => {
                start.copy_from_slice(key);
                Part::Key { length, bytes }
            }
            _ => Part::Digest([0, 1].map(|index: usize| self.digest[index].hash_one(key))),
        }
    }
}

impl Place<'_> {
    pub(crate) fn is(&self, stored: &StoredPlace) -> bool {
        self.part == stored.part && self.policy.name() == stored.policy.name()
    }

    pub(crate) fn to_stored(self) -> StoredPlace {
        StoredPlace { policy: self.policy.clone(), part: self.part }
    }
}

impl Eq for StoredPlace {}

impl PartialEq for StoredPlace {
    fn eq(&self, other: &Self) -> bool {
        self.part == other.part && self.policy.name() == other.policy.name()
    }
}

impl Hash for StoredPlace {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hash(&self.policy, &self.part, hasher);
    }
}

fn hash(policy: &Policy, part: &Part, hasher: &mut impl Hasher) {
    policy.name().hash(hasher);
    part.hash(hasher);
}
