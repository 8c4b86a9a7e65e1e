//! The time that scripts go by: the server's own, or for tests that of a clock.

use std::sync::Arc;

use fred::types::Value;
use ratelimit_backend::{BackendError, Clock};

/// A clock in place of the server's, if there is one.
#[derive(Clone)]
pub(crate) struct ScriptClock(pub(crate) Option<Arc<dyn Clock>>);

impl ScriptClock {
    /// The time as scripts take it: empty for the server's own.
    pub(crate) fn argument(&self) -> Result<Value, BackendError> {
        let now = self.0.as_ref().map(|clock| clock.now()).transpose()?;
        Ok(now.map_or_else(String::new, |now| now.as_micros().to_string()).into())
    }

    /// How much longer the server is to keep what it would forget by another clock than decisions
    /// are made by.
    pub(crate) const fn spare_ms(&self) -> u64 {
        if self.0.is_some() { SPARE_MS } else { 0 }
    }
}

/// As in the scripts: an hour.
const SPARE_MS: u64 = 3_600_000;
