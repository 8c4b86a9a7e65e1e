//! The key of a state in the server.
//!
//! ```text
//! {prefix}:1:{policy}:{ digest of the key }            a key's state
//! {prefix}:1:{policy}:{ group }:digest of the key      the same, in a group
//! {prefix}:1:{policy}#                                 a shared sensor
//! {prefix}:1:{policy}:{ group }#                       the same, in a group
//! ```
//!
//! A cluster keeps keys with the same text between braces together: all policies' states of one
//! key, or all of a group. The server sees only a digest of a key's text, so the text chooses no slot,
//! matches no pattern, and cannot be read in the server.

use ratelimit_core::{ConfigError, store::Slot};
use sha2::{Digest, Sha256};

/// The names of keys in one store or group.
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

    /// True for a group, all of whose keys lie in one slot.
    pub(crate) const fn is_group(&self) -> bool {
        self.group.is_some()
    }

    /// The key under which the server keeps a state.
    pub(crate) fn key(&self, slot: Slot<'_>) -> String {
        let [prefix, policy] = [&*self.prefix, slot.policy.name()];
        let digest = slot.key.map(|key| digest(key.as_bytes()));
        let digest = digest.as_ref().map(|digits| str::from_utf8(digits).expect("digits are text"));
        // Put together at once: formatting takes as long as all the rest of a check.
        match (&self.group, digest) {
            (None, Some(digest)) => [prefix, LAYOUT, policy, ":{", digest, "}"].concat(),
            (Some(group), Some(digest)) => {
                [prefix, LAYOUT, policy, ":{", group, "}:", digest].concat()
            }
            (None, None) => [prefix, LAYOUT, policy, "#"].concat(),
            (Some(group), None) => [prefix, LAYOUT, policy, ":{", group, "}#"].concat(),
        }
    }
}

/// The version of the layout: of these names and of the values under them.
const LAYOUT: &str = ":1:";

/// Checks a name as that of a policy is: no brace may come before that of the slot.
fn name(name: &str) -> Result<Box<str>, ConfigError> {
    let is_fit = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-');
    if name.is_empty() || NAME_MAX < name.len() || !name.bytes().all(is_fit) {
        return Err(ConfigError::BadName);
    }
    Ok(name.into())
}

/// The longest name, in bytes.
const NAME_MAX: usize = 64;

/// Half of SHA-256, in 32 hexadecimal digits: nobody can find two keys with one digest.
fn digest(key: &[u8]) -> [u8; 32] {
    let digest = Sha256::digest(key);
    let mut digits = [0; 32];
    for (pair, byte) in digits.as_chunks_mut().0.iter_mut().zip(digest) {
        *pair = [byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]);
    }
    digits
}
