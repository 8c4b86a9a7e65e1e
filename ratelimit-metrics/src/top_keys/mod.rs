//! The most frequent keys, in memory that does not grow with the number of keys.

mod space_saving;

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fmt,
    num::NonZeroUsize,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use blake3::{Hasher, KEY_LEN};
use ratelimit_core::Key;

use self::space_saving::{Entry, Id, SpaceSaving};
use crate::{Event, Recorder, Verdict};

/// Keeps the most frequent keys, by limiter.
///
/// It keeps the counts of `capacity` keys. A count is never too low; it may be too high, by
/// [`overcount`](TopKey::overcount), which is at most [`counted`](Self::counted) / `capacity`. A
/// key that came more often than that is always there. So choose a capacity well above the number
/// of keys to show: with 1000, every key of more than a thousandth of all events is there.
///
/// Keys are kept as 128 bits of a keyed hash, unless
/// [`with_keys_in_clear`](Self::with_keys_in_clear) is called. An event that counts takes that hash,
/// a lock and O(log capacity); any other event takes nothing.
///
/// ```
/// use std::{num::NonZeroUsize, sync::Arc};
///
/// use ratelimit_algorithms::{Limiter, TokenBucket};
/// use ratelimit_memory::Memory;
/// use ratelimit_metrics::{Observed, Ranking, TopKeys};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # const CAPACITY: NonZeroUsize = NonZeroUsize::new(1000).unwrap();
/// let offenders = Arc::new(TopKeys::new(Ranking::Denials, CAPACITY));
/// let store = Observed::new(Memory::new(), Arc::clone(&offenders));
/// let limiter = Limiter::new(store, "api", TokenBucket::per_hour(2))?;
/// for key in ["mallory", "mallory", "mallory", "mallory", "alice"] {
///     let _ = limiter.check(key).now()?;
/// }
///
/// let top = offenders.top(10);
/// assert_eq!((top.len(), top[0].count), (1, 2));
/// assert_eq!(top[0].digest, offenders.digest("api", "mallory"));
/// assert_eq!(offenders.of("api", "mallory").map(|key| key.count), Some(2));
/// # Ok(())
/// # }
/// ```
pub struct TopKeys {
    ranking: Ranking,
    pepper: [u8; KEY_LEN],
    is_clear: bool,
    sketch: Mutex<SpaceSaving<Tracked>>,
}

/// The events that a key is ranked by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Ranking {
    /// The requests that limiters deny.
    Denials,
    /// All requests, admitted or denied.
    Requests,
}

struct Tracked {
    limiter: Box<str>,
    key: Option<Box<[u8]>>,
    denied: u64,
}

/// A frequent key.
///
/// Its `Debug` does not show the key, even where it is kept in clear.
#[derive(Clone, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct TopKey {
    /// The limiter that checked it.
    pub limiter: String,
    /// The keyed hash of limiter and key.
    pub digest: Digest,
    /// The first 256 bytes of the key, if [keys are kept in clear](TopKeys::with_keys_in_clear).
    pub key: Option<Box<[u8]>>,
    /// The number of its events, which may be too high by [`overcount`](Self::overcount).
    pub count: u64,
    /// The part of `count` that may be too much.
    pub overcount: u64,
    /// The number of its denials at least: without those from before it was kept.
    pub denied: u64,
}

/// The keyed hash of a limiter's name and a key: 128 bits, shown as hexadecimal digits.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Digest(Id);

impl TopKeys {
    /// Makes a recorder that keeps the counts of `capacity` keys.
    ///
    /// # Panics
    ///
    /// If the operating system has no random bytes.
    #[must_use]
    pub fn new(ranking: Ranking, capacity: NonZeroUsize) -> Self {
        let sketch = Mutex::new(SpaceSaving::new(capacity.get()));
        Self { ranking, pepper: *PEPPER, is_clear: false, sketch }
    }

    /// Keeps the first 256 bytes of each key as they are, beside the hash: for keys that are no
    /// secrets, and may be shown to everybody who sees the list.
    #[must_use]
    pub fn with_keys_in_clear(self) -> Self {
        Self { is_clear: true, ..self }
    }

    /// Hashes with this secret, of at least 16 random bytes, so that digests of several processes can
    /// be compared. The default is random, and changes with each start of the process.
    #[must_use]
    pub fn with_pepper(self, secret: impl AsRef<[u8]>) -> Self {
        let pepper = blake3::derive_key("ratelimit-metrics 1 pepper of keys", secret.as_ref());
        Self { pepper, ..self }
    }

    /// Returns the `n` keys that come most often, the most frequent first.
    ///
    /// The entries are read in small parts, so that no check waits for long. Counts that change
    /// meanwhile may be from before or after the change.
    #[must_use]
    pub fn top(&self, n: usize) -> Vec<TopKey> {
        let mut top = Vec::new();
        for part in self.highest(n).chunks(PART) {
            let sketch = self.lock();
            let entries = part.iter().map(|&(_, id, index)| (id, &sketch.entries()[index]));
            // Another key may have taken the entry since.
            top.extend(
                entries.filter(|(id, entry)| entry.id() == *id).map(|(_, entry)| entry.into()),
            );
        }
        top.sort_by_key(|key: &TopKey| Reverse((key.count, key.digest.0)));
        top
    }

    /// Returns count, identity and index of the entries with the highest counts.
    fn highest(&self, n: usize) -> Vec<(u64, Id, usize)> {
        let mut highest = BinaryHeap::new();
        let mut part = Vec::with_capacity(PART);
        let mut begin = 0;
        loop {
            let sketch = self.lock();
            let entries = (begin..).zip(sketch.entries().iter().skip(begin).take(PART));
            part.extend(entries.map(|(index, entry)| Reverse((entry.count, entry.id(), index))));
            drop(sketch);
            if part.is_empty() {
                return highest.into_iter().map(|Reverse(entry)| entry).collect();
            }
            begin += part.len();
            for entry in part.drain(..) {
                highest.push(entry);
                if n < highest.len() {
                    highest.pop();
                }
            }
        }
    }

    /// Returns the counts of one key, or `None` if it is not among those that are kept: then it came at most
    /// [`counted`](Self::counted) / `capacity` times. Takes O(1).
    #[must_use]
    pub fn of(&self, limiter: &str, key: impl AsRef<[u8]>) -> Option<TopKey> {
        let Digest(id) = self.digest(limiter, key);
        self.lock().get(id).map(Into::into)
    }

    /// Returns the number of all events that were counted.
    #[must_use]
    pub fn counted(&self) -> u64 {
        self.lock().counted()
    }

    /// Returns the digest that a key is shown as, to look for a known key.
    pub fn digest(&self, limiter: &str, key: impl AsRef<[u8]>) -> Digest {
        // No name has a zero in it, so no two pairs are the same bytes.
        let mut hasher = Hasher::new_keyed(&self.pepper);
        hasher.update(limiter.as_bytes()).update(&[0]).update(key.as_ref());
        let hash = hasher.finalize();
        Digest(*hash.as_bytes().first_chunk().expect("32 bytes begin with 16"))
    }

    /// Locks the sketch, whose methods do not panic.
    fn lock(&self) -> MutexGuard<'_, SpaceSaving<Tracked>> {
        self.sketch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn track(&self, limiter: &str, key: Key<'_>) -> Tracked {
        let key = key.as_bytes();
        let key = self.is_clear.then(|| key[..key.len().min(CLEAR_BYTES_MAX)].into());
        Tracked { limiter: limiter.into(), key, denied: 0 }
    }
}

/// One secret for the process, so that two lists agree about a key.
static PEPPER: LazyLock<[u8; KEY_LEN]> = LazyLock::new(|| {
    let mut pepper = [0; KEY_LEN];
    getrandom::fill(&mut pepper).expect("the operating system should have random bytes");
    pepper
});

/// The entries that are read under one lock: some microseconds.
const PART: usize = 512;

/// Enough to recognise a key by.
const CLEAR_BYTES_MAX: usize = 256;

impl Recorder for TopKeys {
    fn record(&self, event: &Event<'_>) {
        let is_denied = event.verdict == Verdict::Deny;
        let is_request = matches!(event.verdict, Verdict::Allow | Verdict::Withhold) || is_denied;
        let counts = match self.ranking {
            Ranking::Denials => is_denied,
            Ranking::Requests => is_request,
        };
        if !counts {
            return;
        }
        let limiter = event.policy.name();
        let Digest(id) = self.digest(limiter, event.key.as_bytes());
        let mut sketch = self.lock();
        let tracked = sketch.count(id, || self.track(limiter, event.key));
        tracked.denied = tracked.denied.saturating_add(u64::from(is_denied));
    }
}

/// Shows the ranking, and neither keys nor the pepper.
impl fmt::Debug for TopKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopKeys").field("ranking", &self.ranking).finish_non_exhaustive()
    }
}

impl From<&Entry<Tracked>> for TopKey {
    fn from(entry: &Entry<Tracked>) -> Self {
        Self {
            limiter: entry.value.limiter.clone().into(),
            digest: Digest(entry.id()),
            key: entry.value.key.clone(),
            count: entry.count,
            overcount: entry.overcount,
            denied: entry.value.denied,
        }
    }
}

impl fmt::Debug for TopKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limiter, digest, key: _, count, overcount, denied } = self;
        f.debug_struct("TopKey")
            .field("limiter", limiter)
            .field("digest", digest)
            .field("count", count)
            .field("overcount", overcount)
            .field("denied", denied)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Serializes the digest as it is displayed.
#[cfg(feature = "serde")]
impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // FAULTS 194.
    #[test]
    fn the_pepper_of_a_process_is_random() {
        let mut bytes = *PEPPER;
        bytes.sort_unstable();
        let different = bytes.chunk_by(|a, b| a == b).count();
        assert!(KEY_LEN / 2 < different, "so few, once in 10^20 runs");
    }
}
