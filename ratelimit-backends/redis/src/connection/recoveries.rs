//! How often a server may have come back, for whoever leaves it alone until then.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fred::error::Error;
use tokio::time::Instant;

use crate::error;

/// Counts connections that were made, and refusals that are over.
///
/// A server that was gone is connected to anew, and that is the sign. One that refuses for reasons
/// of its own (it loads its data, has lost its primary or its replicas, cannot save) stays
/// connected, and says nothing when the reason is gone; so what it says holds for a second.
#[derive(Debug, Default)]
pub(crate) struct Comebacks(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    count: u64,
    refused: Option<Instant>,
}

impl Comebacks {
    /// How many there have been.
    pub(crate) fn count(&self) -> u64 {
        let mut known = self.known();
        let is_over = |refused: &mut Instant| REFUSAL <= refused.elapsed();
        if known.refused.take_if(is_over).is_some() {
            known.count += 1;
        }
        known.count
    }

    /// Takes note of a new connection.
    pub(crate) fn connected(&self) {
        self.known().count += 1;
    }

    /// Takes note of an error, if it is such a refusal. Another one does not put off the end of the
    /// first.
    pub(crate) fn failed(&self, error: &Error) {
        if let Some("LOADING" | "MASTERDOWN" | "MISCONF" | "NOREPLICAS" | "CLUSTERDOWN") =
            error::word(error.details())
        {
            self.known().refused.get_or_insert_with(Instant::now);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Half of the two seconds within which service is to resume.
const REFUSAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use fred::error::ErrorKind;
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_over_after_a_second_and_counts_once() {
        let comebacks = Comebacks::default();
        let loading = Error::new(ErrorKind::Unknown, "LOADING Redis is loading the dataset");
        for round in 0..3 {
            comebacks.failed(&loading);
            advance(REFUSAL / 2).await;
            comebacks.failed(&loading);
            assert_eq!(comebacks.count(), round);
            advance(REFUSAL / 2).await;
            assert_eq!([comebacks.count(), comebacks.count()], [round + 1; 2]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_a_sign_and_other_failures_are_none() {
        let comebacks = Comebacks::default();
        comebacks.connected();
        for text in ["OOM command not allowed", "connection was lost", "NOPERM no permissions"] {
            comebacks.failed(&Error::new(ErrorKind::Unknown, text));
        }
        advance(10 * REFUSAL).await;
        assert_eq!(comebacks.count(), 1);
    }
}
