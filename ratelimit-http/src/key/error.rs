//! Why a request has no key.

use std::error::Error;

use http::StatusCode;

/// A request has no key. Nothing was asked of the limiter, and nothing charged.
///
/// The text names no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The client has not said who it is; [`KeyFn::or`](crate::KeyFn::or) tries something else.
    #[error("request names no client")]
    Missing,
    /// The client has said it twice.
    #[error("request names its client more than once")]
    Duplicate,
    /// What the client said makes no sense.
    #[error("request names its client in a way that makes no sense")]
    Malformed,
    /// The server has not said where the request comes from: see [`PeerAddr`](crate::PeerAddr).
    #[error("request carries no peer address")]
    NoPeer,
    /// The key function took more time than it had.
    #[error("key function took too long")]
    TimedOut,
    /// The key function failed for a reason of its own.
    #[error("key function failed")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
}

impl KeyError {
    /// 400 where the client can mend it, 500 where it cannot, 503 where it may try again.
    ///
    /// Never 401: that has to come with a challenge, and a limiter has none.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Missing | Self::Duplicate | Self::Malformed => StatusCode::BAD_REQUEST,
            Self::TimedOut => StatusCode::SERVICE_UNAVAILABLE,
            Self::NoPeer | Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}
