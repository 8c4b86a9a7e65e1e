//! Limits in a file, by name, which can be reloaded.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use ratelimit_core::{CarryOver, Policy};

use super::{error::FileError, parse};
use crate::Live;

/// Limits in a file, by name, which can be reloaded. Clones are the same limits.
///
/// Each is a [`Rule`](crate::Rule), in TOML or, if the file is called `.json`, in JSON:
///
/// ```toml
/// api = "100/60s"
///
/// [login]
/// algorithm = "fixed_window"
/// limit = 5
/// window = "1m"
/// ```
///
/// ```
/// # #[cfg(feature = "toml")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("limits.toml");
/// # std::fs::write(&path, "api = '100/60s'")?;
/// use ratelimit_algorithms::{Limiter, LimitsFile};
/// use ratelimit_memory::Memory;
///
/// let limits = LimitsFile::open(&path)?;
/// let limiter = Limiter::with_policies(Memory::new(), limits.live("api")?)?;
/// assert_eq!(limiter.check("user:42").now()?.limit, 100);
///
/// std::fs::write(&path, "api = '200/60s'")?;
/// limits.reload()?;
/// assert_eq!(limiter.check("user:42").now()?.limit, 200);
///
/// // An invalid file changes nothing, and the error names the place.
/// std::fs::write(&path, "api = '300/60'")?;
/// let error = limits.reload().unwrap_err().to_string();
/// assert!(error.contains("limits.toml, line 1, api: a length is whole numbers with units"));
/// assert_eq!(limiter.check("user:42").now()?.limit, 200);
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "toml"))]
/// # fn main() {}
/// ```
///
/// [`watch`](Self::watch) reloads the file whenever it has changed.
#[derive(Clone, Debug)]
pub struct LimitsFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    carry_over: CarryOver,
    /// Held while the file is read and the limits are changed.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limits: BTreeMap<String, Live>,
    /// The contents at the last reading, valid or not; `None` if the file could not be read.
    seen: Option<String>,
    /// The time of the last reading.
    made: Instant,
}

impl LimitsFile {
    /// Reads the limits in the file at `path`.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or anything in it is invalid.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, FileError> {
        let state = State { limits: BTreeMap::new(), seen: None, made: Instant::now() };
        let file = Self::from_parts(path.as_ref().to_owned(), CarryOver::AsIs, state);
        file.reload()?;
        Ok(file)
    }

    fn from_parts(path: PathBuf, carry_over: CarryOver, state: State) -> Self {
        Self(Arc::new(Inner { path, carry_over, state: Mutex::new(state) }))
    }

    /// The same limits, with another rule for spent permits when their numbers change. They are
    /// limits of their own: limits that were taken earlier do not change with them.
    #[must_use]
    pub fn with_carry_over(self, carry_over: CarryOver) -> Self {
        let State { limits, seen, made } = &*self.state();
        let own = |(name, live): (&String, &Live)| {
            (name.clone(), live.clone().with_carry_over(carry_over))
        };
        let state =
            State { limits: limits.iter().map(own).collect(), seen: seen.clone(), made: *made };
        Self::from_parts(self.0.path.clone(), carry_over, state)
    }

    /// The limit called `name`, which changes when the file does.
    ///
    /// # Errors
    ///
    /// [`FileError::Missing`] if there is none.
    pub fn live(&self, name: &str) -> Result<Live, FileError> {
        self.state().limits.get(name).cloned().ok_or_else(|| self.missing(name))
    }

    /// Reads the file again, and updates all limits; adds those that are new in it.
    ///
    /// Each limit is updated by itself: a check in between may find one new and another one old. Limits
    /// that nobody holds are made anew, with whatever algorithm the file says, or dropped with it.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or anything in it is invalid; then all limits stay as they are.
    /// [`FileError::Kept`] names the limits in use that are no longer in it, or cannot become what it says,
    /// see [`Live::update`]: these stay as they are, and all others are updated.
    pub fn reload(&self) -> Result<(), FileError> {
        let mut state = self.state();
        let text = self.read();
        self.apply(&mut state, text)
    }

    /// Reads the file again, and updates all limits if its contents have changed; returns the outcome
    /// then.
    ///
    /// Limits that are older than `age_max` are made anew all the same, since the rules of time zones may
    /// have changed.
    pub(crate) fn reload_if_changed(&self, age_max: Duration) -> Option<Result<(), FileError>> {
        let mut state = self.state();
        let text = self.read();
        let is_changed = text.as_ref().ok() != state.seen.as_ref();
        let is_due = age_max <= state.made.elapsed();
        let outcome = (is_changed || is_due).then(|| self.apply(&mut state, text))?;
        (is_changed || outcome.is_err()).then_some(outcome)
    }

    fn apply(&self, state: &mut State, text: Result<String, FileError>) -> Result<(), FileError> {
        (state.seen, state.made) = (None, Instant::now());
        let text = state.seen.insert(text?);
        let mut policies = parse::policies(&self.0.path, text)?;
        let mut kept = Vec::new();
        state.limits.retain(|_, live| live.is_used());
        for (name, live) in &state.limits {
            let update = self.update(name, live, policies.remove(name));
            kept.extend(update.err());
        }
        let new =
            |(name, policy)| (name, Live::from_policy(policy).with_carry_over(self.0.carry_over));
        state.limits.extend(policies.into_iter().map(new));
        if kept.is_empty() { Ok(()) } else { Err(FileError::Kept(kept)) }
    }

    fn update(&self, name: &str, live: &Live, found: Option<Policy>) -> Result<(), FileError> {
        let policy = found.ok_or_else(|| self.missing(name))?;
        let update = live.update_with_debt(policy.algorithm().clone(), policy.debt_max());
        update.map_err(|source| FileError::Change {
            path: self.0.path.clone(),
            name: name.to_owned(),
            source,
        })
    }

    fn read(&self) -> Result<String, FileError> {
        let path = &self.0.path;
        fs::read_to_string(path).map_err(|source| FileError::Read { path: path.clone(), source })
    }

    fn missing(&self, name: &str) -> FileError {
        FileError::Missing { path: self.0.path.clone(), name: name.to_owned() }
    }

    /// A poisoned lock is fine: nothing is ever half changed.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, feature = "toml"))]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_looked_at_again_only_when_it_has_changed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("limits.toml");
        let look = |limits: &LimitsFile| {
            limits.reload_if_changed(Duration::MAX).map(|outcome| outcome.is_ok())
        };
        fs::write(&path, "a = '10/1s'").unwrap();
        let limits = LimitsFile::open(&path).unwrap();
        assert_eq!(look(&limits), None);

        fs::write(&path, "a = '10/1s' # the same limits").unwrap();
        assert_eq!([look(&limits), look(&limits)], [Some(true), None]);
        fs::write(&path, "a = '10/1'").unwrap();
        assert_eq!([look(&limits), look(&limits)], [Some(false), None]);
        fs::remove_file(&path).unwrap();
        assert_eq!([look(&limits), look(&limits)], [Some(false), None]);
        fs::write(&path, "a = '20/1s'").unwrap();
        assert_eq!([look(&limits), look(&limits)], [Some(true), None]);
        fs::write(&path, "a = '30/1s'").unwrap();
        limits.reload().unwrap();
        assert_eq!(look(&limits), None, "somebody else has reloaded it");
    }

    #[test]
    fn limits_that_are_old_are_made_anew_and_are_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("limits.toml");
        fs::write(&path, "a = '10/1s'").unwrap();
        let limits = LimitsFile::open(&path).unwrap();
        let live = limits.live("a").unwrap();
        let first = live.current();
        assert!(limits.reload_if_changed(Duration::MAX).is_none() && live.current().is(&first));
        assert!(limits.reload_if_changed(Duration::ZERO).is_none(), "nobody has changed anything");
        assert!(!live.current().is(&first) && live.current() == first);
    }
}
