//! The cost of a request, as its handler reports it.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use http::Extensions;

/// The actual cost of a request, reported while its response is made or sent: a handle in the
/// request's extensions, with a layer that [settles at the
/// end](crate::RateLimitLayer::settle_at_end).
///
/// Clones are the same handle: one may go into the stream that is the response's body. When the
/// body has ended, has failed or is dropped, the charge is settled for the last cost reported;
/// later reports have no effect. A limit without a report keeps its charge.
///
/// With several such layers the request has one handle, for the limits of all.
///
/// ```
/// use ratelimit_http::{ActualCost, UnknownLimit};
///
/// /// Counts the tokens of a stream's chunk.
/// fn count(chunk: &str, cost: &ActualCost) -> Result<(), UnknownLimit> {
///     cost.add("tokens", chunk.split_whitespace().count() as u64)
/// }
/// ```
#[derive(Clone)]
pub struct ActualCost {
    limits: Arc<dyn LimitNames>,
    told: Arc<Mutex<Vec<Option<u64>>>>,
    /// The handle of a layer further outside.
    outer: Option<Arc<Self>>,
}

/// The names of a layer's limits, in their order.
pub(crate) trait LimitNames: Send + Sync {
    fn for_each(&self, visit: &mut dyn FnMut(&str));
}

/// No layer has a limit of this name that is settled at the end.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no limit of the request is called {name:?}")]
#[non_exhaustive]
pub struct UnknownLimit {
    /// The name.
    pub name: String,
}

impl ActualCost {
    pub(crate) fn new(limits: Arc<dyn LimitNames>) -> Self {
        let mut count = 0;
        limits.for_each(&mut |_| count += 1);
        Self { limits, told: Arc::new(Mutex::new(vec![None; count])), outer: None }
    }

    /// Sets the request's cost under the limit called `limit`, in place of earlier reports.
    ///
    /// # Errors
    ///
    /// If the layer has no limit of this name. A limit that let the request pass uncounted is no
    /// error.
    pub fn set(&self, limit: &str, cost: u64) -> Result<(), UnknownLimit> {
        self.tell(limit, &|_| cost)
    }

    /// Adds `cost` permits to the request's cost under the limit called `limit`. The first report
    /// adds to zero, not to the charge.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    pub fn add(&self, limit: &str, cost: u64) -> Result<(), UnknownLimit> {
        self.tell(limit, &|told| told.unwrap_or(0).saturating_add(cost))
    }

    fn tell(&self, limit: &str, cost: &dyn Fn(Option<u64>) -> u64) -> Result<(), UnknownLimit> {
        let (mut index, mut is_known) = (0, false);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        self.limits.for_each(&mut |name| {
            if name == limit {
                told[index] = Some(cost(told[index]));
                is_known = true;
            }
            index += 1;
        });
        drop(told);
        match (&self.outer, is_known) {
            (_, true) => Ok(()),
            (Some(outer), false) => outer.tell(limit, cost),
            (None, false) => Err(UnknownLimit { name: limit.to_owned() }),
        }
    }

    /// The cost that was told of the layer's limit with this index.
    pub(crate) fn of(&self, limit: usize) -> Option<u64> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).get(limit).copied().flatten()
    }

    /// Puts the handle into a request's extensions, in front of that of a layer further outside.
    pub(crate) fn leave_in(&self, extensions: &mut Extensions) {
        let outer = extensions.remove::<Self>().map(Arc::new);
        extensions.insert(Self { outer, ..self.clone() });
    }
}

impl fmt::Debug for ActualCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = Vec::new();
        self.limits.for_each(&mut |name| names.push(name.to_owned()));
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_map().entries(names.iter().zip(&*told)).finish()
    }
}
