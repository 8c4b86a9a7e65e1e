//! The shorter way to a [`Backend`](crate::Backend): two methods over keys and bytes.

use async_trait::async_trait;
use ratelimit_core::Micros;

use crate::BackendError;

/// Keeps bytes under keys, and swaps them; [`StoreBackend`](crate::StoreBackend) makes a full
/// backend of it.
///
/// Keys are any bytes, at most [`Key::BYTES_MAX`](ratelimit_core::Key::BYTES_MAX) and 65 of them,
/// to be compared as bytes. Values mean nothing to a store.
///
/// Both methods are as good as what they promise below: limits hold exactly as far as a swap is
/// indivisible, and as long as its entries are kept.
///
/// # Examples
///
/// The whole of a store in memory, and its proof:
///
/// ```
#[doc = include_str!("../examples/hash_map.rs")]
/// ```
///
/// And one that every process of a host shares:
///
/// ```
#[doc = include_str!("../examples/file.rs")]
/// ```
#[async_trait]
pub trait Store: Send + Sync {
    /// What tells an entry from all that have been under its key: a revision, an ETag, or a copy
    /// of the bytes themselves. One that is used again, even after the entry was removed, has to
    /// stand for the same bytes.
    type Version: Send + Sync;

    /// Loads the entry under `key`, if there is one.
    ///
    /// # Errors
    ///
    /// When the store gives no answer.
    async fn load(&self, key: &[u8]) -> Result<Option<Versioned<Self::Version>>, BackendError>;

    /// Makes all of `swaps` if every entry is still the one that was loaded, else none of them;
    /// says which.
    ///
    /// This is one indivisible step, also between processes where they share the store. Most
    /// often there is one swap; a batch has several, each of another key, and what is to be kept
    /// counts among what is compared.
    ///
    /// Dropping the future before it is ready leaves all of the swaps, or none.
    ///
    /// # Errors
    ///
    /// When it was not done ([`Effect::NotApplied`](crate::Effect::NotApplied)), or may not have
    /// been ([`Effect::Unknown`](crate::Effect::Unknown)). It is not tried again.
    async fn compare_and_swap(
        &self,
        swaps: &[Swap<'_, Self::Version>],
    ) -> Result<bool, BackendError>;
}

/// An entry, as it was loaded.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "stores make it, of both")]
pub struct Versioned<V> {
    /// What is stored.
    pub bytes: Vec<u8>,
    /// What tells it from what was and will be stored.
    pub version: V,
}

/// What is to become of one key's entry, if it is still what it was.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Swap<'a, V> {
    /// The key.
    pub key: &'a [u8],
    /// The version that was loaded; `None` if there was no entry.
    pub loaded: Option<&'a V>,
    /// What to do.
    pub change: Change<'a>,
}

/// What to do with an entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete by nature")]
pub enum Change<'a> {
    /// Leave it as it is.
    Keep,
    /// Store it, whether there was one or not.
    Put {
        /// What to store.
        bytes: &'a [u8],
        /// The time after which nobody will miss it; never zero. A store may forget the entry
        /// then, rounding up, and never earlier; one that keeps entries for longer only grows.
        ttl: Micros,
    },
    /// Remove it.
    Remove,
}
