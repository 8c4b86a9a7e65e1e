//! Counts a server's recoveries, for circuit breakers that wait for them.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{connection::client::Failure, error};

/// Counts connections that were made, and refusals that are over.
///
/// A new connection is the sign that a server is back. A server that refuses for reasons of its own
/// (it loads its data, has lost its primary or its replicas, cannot save) stays connected, and does
/// not report the end of that; so a refusal is taken to last a second.
#[derive(Debug, Default)]
pub(crate) struct Recoveries(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    count: u64,
    refused: Option<Instant>,
}

impl Recoveries {
    /// The number of recoveries so far.
    pub(crate) fn count(&self) -> u64 {
        let mut state = self.state();
        let is_over = |refused: &mut Instant| REFUSAL <= refused.elapsed();
        if state.refused.take_if(is_over).is_some() {
            state.count += 1;
        }
        state.count
    }

    /// Counts a new connection.
    pub(crate) fn connected(&self) {
        self.state().count += 1;
    }

    /// Notes a failure, if it is a refusal. A second one does not put off the end of the first.
    pub(crate) fn failed(&self, failure: &Failure) {
        if let Some("LOADING" | "MASTERDOWN" | "MISCONF" | "NOREPLICAS" | "CLUSTERDOWN") =
            error::word(&failure.details)
        {
            self.state().refused.get_or_insert_with(Instant::now);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Half of the two seconds within which service is to resume.
const REFUSAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::connection::client::Cause;

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_over_after_a_second_and_counts_once() {
        let recoveries = Recoveries::default();
        let loading = failure("LOADING Redis is loading the dataset");
        for round in 0..3 {
            recoveries.failed(&loading);
            advance(REFUSAL / 2).await;
            recoveries.failed(&loading);
            assert_eq!(recoveries.count(), round);
            advance(REFUSAL / 2).await;
            assert_eq!([recoveries.count(), recoveries.count()], [round + 1; 2]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_a_sign_and_other_failures_are_none() {
        let recoveries = Recoveries::default();
        recoveries.connected();
        for text in ["OOM command not allowed", "connection was lost", "NOPERM no permissions"] {
            recoveries.failed(&failure(text));
        }
        advance(10 * REFUSAL).await;
        assert_eq!(recoveries.count(), 1);
    }

    fn failure(details: &'static str) -> Failure {
        Failure { cause: Cause::Lost, details: details.into(), name: "unknown" }
    }
}
