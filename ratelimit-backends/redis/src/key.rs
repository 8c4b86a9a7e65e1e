//! Where a state lies: its key in the server.
//!
//! ```text
//! {prefix}:1:{policy}:{ digest of the key }            a key's state
//! {prefix}:1:{policy}:{ group }:digest of the key      the same, in a group
//! {prefix}:1:{policy}#                                 a shared sensor
//! {prefix}:1:{policy}:{ group }#                       the same, in a group
//! ```
//!
//! A cluster keeps keys with the same text between braces together: all policies' states of one
//! key, or all of a group. The text of a key is only ever seen as a digest, so it chooses no slot,
//! matches no pattern, and cannot be read in the server.

use ratelimit_core::{ConfigError, Slot};
use sha2::{Digest, Sha256};

/// How keys are named in one store or group.
#[derive(Clone, Debug)]
pub(crate) struct Keyspace {
    prefix: Box<str>,
    group: Option<Box<str>>,
}

impl Keyspace {
    /// The keys that begin with `prefix`, a name like that of a policy.
    pub(crate) fn new(prefix: &str) -> Result<Self, ConfigError> {
        Ok(Self { prefix: name(prefix)?, group: None })
    }

    /// Those of a group, a name like that of a policy.
    pub(crate) fn group(&self, group: &str) -> Result<Self, ConfigError> {
        Ok(Self { group: Some(name(group)?), ..self.clone() })
    }

    /// Whether all keys of the group lie together, whoever's they are.
    pub(crate) const fn is_group(&self) -> bool {
        self.group.is_some()
    }

    /// The key under which the server keeps a state.
    pub(crate) fn key(&self, slot: Slot<'_>) -> String {
        let Self { prefix, group } = self;
        let policy = slot.policy.name();
        match (group, slot.key) {
            (None, Some(key)) => {
                format!("{prefix}:{LAYOUT}:{policy}:{{{:032x}}}", digest(key.as_bytes()))
            }
            (Some(group), Some(key)) => {
                format!("{prefix}:{LAYOUT}:{policy}:{{{group}}}:{:032x}", digest(key.as_bytes()))
            }
            (None, None) => format!("{prefix}:{LAYOUT}:{policy}#"),
            (Some(group), None) => format!("{prefix}:{LAYOUT}:{policy}:{{{group}}}#"),
        }
    }
}

/// The version of the layout: of these names and of the values under them.
const LAYOUT: u8 = 1;

/// A name is refused as that of a policy would be: no brace may come before that of the slot.
fn name(name: &str) -> Result<Box<str>, ConfigError> {
    let is_fit = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-');
    if name.is_empty() || NAME_MAX < name.len() || !name.bytes().all(is_fit) {
        return Err(ConfigError::BadName);
    }
    Ok(name.into())
}

/// The longest name, in bytes.
const NAME_MAX: usize = 64;

/// Half of SHA-256, written in 32 hexadecimal digits: nobody finds another key of the same.
fn digest(key: &[u8]) -> u128 {
    let digest = Sha256::digest(key);
    let (half, _) = digest.split_first_chunk().expect("it has 32 bytes");
    u128::from_be_bytes(*half)
}
