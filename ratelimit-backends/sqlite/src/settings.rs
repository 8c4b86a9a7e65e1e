//! The settings of a store: its path, its durability and its bounds.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ratelimit_backend::{Clock, WallClock};

/// The path and the settings of a store.
///
/// ```
/// use std::time::Duration;
/// use ratelimit_sqlite::{SqliteSettings, Synchronous};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("limits.db");
/// let store = SqliteSettings::file(path)
///     .with_synchronous(Synchronous::Full)
///     .with_deadline(Duration::from_millis(20))
///     .open()?;
/// # Ok(())
/// # }
/// ```
#[must_use]
#[derive(Clone, Debug)]
pub struct SqliteSettings {
    /// `None` for a store in memory.
    pub(crate) path: Option<PathBuf>,
    pub(crate) synchronous: Synchronous,
    pub(crate) deadline: Duration,
    pub(crate) queue_max: NonZeroUsize,
    pub(crate) keys_max: NonZeroUsize,
    pub(crate) clock: Arc<dyn Clock>,
}

/// The time at which a decision is safe from a loss of power. It is always safe from a crash of
/// the process.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Synchronous {
    /// Some time later: a loss of power may give back the permits spent last, but never damages
    /// the file.
    #[default]
    Normal,
    /// Before it is acknowledged: each transaction waits for the disk.
    Full,
}

impl SqliteSettings {
    /// A store in the file at `path`; opening it makes the file if there is none.
    pub fn file(path: impl AsRef<Path>) -> Self {
        Self::new(Some(path.as_ref().to_owned()))
    }

    /// A store in memory, private to the handle that is opened and to its clones.
    pub fn in_memory() -> Self {
        Self::new(None)
    }

    fn new(path: Option<PathBuf>) -> Self {
        Self {
            path,
            synchronous: Synchronous::default(),
            deadline: DEADLINE,
            queue_max: QUEUE_MAX,
            keys_max: KEYS_MAX,
            clock: Arc::new(WallClock::new()),
        }
    }

    /// Sets when a decision is safe from a loss of power.
    pub fn with_synchronous(self, synchronous: Synchronous) -> Self {
        Self { synchronous, ..self }
    }

    /// Sets the time that a call may wait for its turn and for other processes; by default 100 ms.
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Sets the most calls that may wait for their turn; by default 4096.
    pub fn with_queue_max(self, queue_max: NonZeroUsize) -> Self {
        Self { queue_max, ..self }
    }

    /// Sets the most keys in the store, of all processes together; by default a million, which take
    /// 95 MB if they have twelve bytes each and a window's count. More keys are refused, unless
    /// others have expired.
    pub fn with_keys_max(self, keys_max: NonZeroUsize) -> Self {
        Self { keys_max, ..self }
    }

    /// Sets the clock; by default the wall clock, which all processes of a host share.
    pub fn with_clock(self, clock: impl Clock + 'static) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }
}

/// The time that a check may take as a whole.
const DEADLINE: Duration = Duration::from_millis(100);

/// As many calls as are decided within some 40 ms, well before the deadline.
const QUEUE_MAX: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();

/// As many keys as a store in memory holds.
const KEYS_MAX: NonZeroUsize = NonZeroUsize::new(1_000_000).unwrap();
