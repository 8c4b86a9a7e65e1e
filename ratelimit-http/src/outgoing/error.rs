//! Why a request to somebody else has no response.

use std::time::Duration;

use ratelimit_algorithms::{AcquireError, WaitError};

use crate::KeyError;

/// A request to somebody else has no response.
///
/// Only where the [`Service`](Self::Service) failed was it sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutgoingError<E> {
    /// The request has no key.
    #[error(transparent)]
    Key(KeyError),
    /// The server has asked to wait for longer than a request may.
    #[error("server asked to wait for {} more seconds", .retry_after.as_secs())]
    Held {
        /// How much longer.
        retry_after: Duration,
    },
    /// The limiter had no permit in time, or made no decision.
    #[error(transparent)]
    Wait(WaitError),
    /// The queue of a [paced](crate::OutgoingLayer::paced) limiter is too long, or it made no
    /// decision.
    #[error(transparent)]
    Pace(AcquireError),
    /// The client within failed.
    #[error(transparent)]
    Service(E),
}

impl<E> OutgoingError<E> {
    /// The time after which the same request may be sent, where that is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Held { retry_after } => Some(*retry_after),
            Self::Wait(error) => error.retry_after().map(Duration::from),
            Self::Pace(error) => error.retry_after().map(Duration::from),
            Self::Key(_) | Self::Service(_) => None,
        }
    }
}

impl<E> From<KeyError> for OutgoingError<E> {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

impl<E> From<WaitError> for OutgoingError<E> {
    fn from(error: WaitError) -> Self {
        Self::Wait(error)
    }
}

impl<E> From<AcquireError> for OutgoingError<E> {
    fn from(error: AcquireError) -> Self {
        Self::Pace(error)
    }
}
