//! Names of clients in draft 10 (`pk`): keyed digests, which tell nothing about a key.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use blake3::KEY_LEN;

use crate::RequestKey;

/// The secret that turns keys into names.
#[derive(Clone)]
pub(super) struct PartitionKeys([u8; KEY_LEN]);

impl PartitionKeys {
    pub(super) fn new(secret: &[u8]) -> Self {
        Self(blake3::derive_key("ratelimit-http 1 partition keys in headers", secret))
    }

    /// 128 bits of a keyed hash, in base64.
    pub(super) fn name(&self, key: &RequestKey) -> String {
        let hash = blake3::keyed_hash(&self.0, key.as_ref());
        STANDARD.encode(&hash.as_bytes()[..16])
    }
}

/// Shows no secret.
impl fmt::Debug for PartitionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PartitionKeys")
    }
}
