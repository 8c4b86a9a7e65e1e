//! Who asks most, and who is denied most, in memory that does not grow with the number of keys.

use std::{
    fmt,
    num::NonZeroUsize,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use blake3::{Hasher, KEY_LEN};
use ratelimit_core::Key;

use crate::{
    Event, Recorder, Verdict,
    space_saving::{Id, SpaceSaving},
};

/// Keeps the keys that come most often, by limiter.
///
/// Of `capacity` keys the counts are kept. A count is never too low; it may be too high, by
/// [`overcount`](TopKey::overcount), which is at most [`counted`](Self::counted) / `capacity`. A
/// key that came more often than that is there for certain. So take a capacity well beyond the
/// number of keys to be shown: with 1000 a key that makes up more than a thousandth of all cannot
/// hide.
///
/// Keys are kept as 128 bits of a keyed hash, unless [`in_clear`](Self::in_clear) says otherwise.
/// An event that counts takes that hash, a lock and O(log capacity); one that does not, nothing.
///
/// ```
/// use std::{num::NonZeroUsize, sync::Arc};
///
/// use ratelimit_algorithms::{Limiter, TokenBucket};
/// use ratelimit_memory::Memory;
/// use ratelimit_metrics::{Observed, TopKeys};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # const CAPACITY: NonZeroUsize = NonZeroUsize::new(1000).unwrap();
/// let offenders = Arc::new(TopKeys::offenders(CAPACITY));
/// let store = Observed::new(Memory::new(), Arc::clone(&offenders));
/// let limiter = Limiter::new(store, "api", TokenBucket::per_hour(2))?;
/// for key in ["mallory", "mallory", "mallory", "mallory", "alice"] {
///     let _ = limiter.check(key).now()?;
/// }
///
/// let top = offenders.top(10);
/// assert_eq!((top.len(), top[0].count), (1, 2));
/// assert_eq!(top[0].digest, offenders.digest("api", "mallory"));
/// # Ok(())
/// # }
/// ```
pub struct TopKeys {
    counts: Counts,
    pepper: [u8; KEY_LEN],
    is_clear: bool,
    sketch: Mutex<SpaceSaving<Tracked>>,
}

/// What makes a key come up.
#[derive(Clone, Copy, Debug)]
enum Counts {
    Denials,
    Requests,
}

struct Tracked {
    limiter: Box<str>,
    key: Option<Box<[u8]>>,
    denied: u64,
}

/// A key that comes often.
///
/// Its `Debug` does not show the key, even where it is kept in clear.
#[derive(Clone, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct TopKey {
    /// The limiter that it was checked by.
    pub limiter: String,
    /// The keyed hash of limiter and key.
    pub digest: Digest,
    /// The first 256 bytes of the key itself, if it was asked for [in clear](TopKeys::in_clear).
    pub key: Option<Box<[u8]>>,
    /// How often it came, or less often by [`overcount`](Self::overcount) at most.
    pub count: u64,
    /// By how much `count` may be too high.
    pub overcount: u64,
    /// How often it was denied, at least: denials from before it was kept are not among them.
    pub denied: u64,
}

/// The keyed hash of a limiter's name and a key: 128 bits, shown as hexadecimal digits.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Digest(Id);

impl TopKeys {
    /// The keys that limiters deny most often.
    ///
    /// # Panics
    ///
    /// If the operating system has no random bytes.
    #[must_use]
    pub fn offenders(capacity: NonZeroUsize) -> Self {
        Self::new(Counts::Denials, capacity)
    }

    /// The keys of the most requests, whether they are admitted or denied.
    ///
    /// # Panics
    ///
    /// If the operating system has no random bytes.
    #[must_use]
    pub fn busiest(capacity: NonZeroUsize) -> Self {
        Self::new(Counts::Requests, capacity)
    }

    fn new(counts: Counts, capacity: NonZeroUsize) -> Self {
        let sketch = Mutex::new(SpaceSaving::new(capacity.get()));
        Self { counts, pepper: *PEPPER, is_clear: false, sketch }
    }

    /// Keeps the first 256 bytes of each key as they are, beside the hash: for keys that are no
    /// secrets, and may be shown to whoever sees the list.
    #[must_use]
    pub fn in_clear(self) -> Self {
        Self { is_clear: true, ..self }
    }

    /// Hashes with this secret, of at least 16 random bytes, in place of one that is random with
    /// each start of the process: so that digests of several processes can be compared.
    #[must_use]
    pub fn pepper(self, secret: impl AsRef<[u8]>) -> Self {
        let pepper = blake3::derive_key("ratelimit-metrics 1 pepper of keys", secret.as_ref());
        Self { pepper, ..self }
    }

    /// The `n` keys that come most often, first the one that comes most.
    #[must_use]
    pub fn top(&self, n: usize) -> Vec<TopKey> {
        let sketch = self.lock();
        let top = sketch.top(n).into_iter().map(|entry| TopKey {
            limiter: entry.value.limiter.clone().into(),
            digest: Digest(entry.id()),
            key: entry.value.key.clone(),
            count: entry.count,
            overcount: entry.overcount,
            denied: entry.value.denied,
        });
        top.collect()
    }

    /// How many denials, or requests, were counted in all.
    #[must_use]
    pub fn counted(&self) -> u64 {
        self.lock().counted()
    }

    /// What a key is shown as: to look for one that is known.
    pub fn digest(&self, limiter: &str, key: impl AsRef<[u8]>) -> Digest {
        // No name has a zero in it, so no two pairs are the same bytes.
        let mut hasher = Hasher::new_keyed(&self.pepper);
        hasher.update(limiter.as_bytes()).update(&[0]).update(key.as_ref());
        let hash = hasher.finalize();
        Digest(*hash.as_bytes().first_chunk().expect("32 bytes begin with 16"))
    }

    /// A poisoned lock is as good as any: what runs under it does not panic.
    fn lock(&self) -> MutexGuard<'_, SpaceSaving<Tracked>> {
        self.sketch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn track(&self, limiter: &str, key: Key<'_>) -> Tracked {
        let key = key.as_bytes();
        let key = self.is_clear.then(|| key[..key.len().min(CLEAR_BYTES_MAX)].into());
        Tracked { limiter: limiter.into(), key, denied: 0 }
    }
}

/// One for the process, so that two lists agree about a key.
static PEPPER: LazyLock<[u8; KEY_LEN]> = LazyLock::new(|| {
    let mut pepper = [0; KEY_LEN];
    getrandom::fill(&mut pepper).expect("the operating system should have random bytes");
    pepper
});

/// Enough to recognise a key by.
const CLEAR_BYTES_MAX: usize = 256;

impl Recorder for TopKeys {
    fn record(&self, event: &Event<'_>) {
        let is_denied = event.verdict == Verdict::Deny;
        let is_request = matches!(event.verdict, Verdict::Allow | Verdict::Withhold) || is_denied;
        let counts = match self.counts {
            Counts::Denials => is_denied,
            Counts::Requests => is_request,
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

/// Shows what is counted, and neither keys nor the pepper.
impl fmt::Debug for TopKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopKeys").field("counts", &self.counts).finish_non_exhaustive()
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

/// As it is shown.
#[cfg(feature = "serde")]
impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
