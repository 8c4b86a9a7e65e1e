//! The store that a URL names, for applications that learn where their limits are when they start.
//!
//! ```
//! use ratelimit_algorithms::{Limiter, TokenBucket};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let url = std::env::var("RATELIMIT_STORE").unwrap_or("memory:".to_owned());
//!     let store = ratelimit_stores::open(&url).await?;
//!     let limiter = Limiter::new(store, "api", TokenBucket::per_second(10))?;
//!     assert!(limiter.check("user:42").await?.is_allowed());
//!     Ok(())
//! }
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

use std::sync::Arc;

use ratelimit_backend::{Backend, BackendError};
use ratelimit_memory::Memory;

/// Opens the store of a URL, with its default settings.
///
/// | URL | store | feature |
/// |---|---|---|
/// | `memory:` | a new one in this process | |
/// | `sqlite:limits.db`, `sqlite:///var/lib/limits.db` | the file of that path, which is made if it is missing | `sqlite` |
/// | `redis://host`, `rediss://`, `redis+unix://`, `redis-cluster://`, `redis-sentinel://`, and the same of `valkey` | the server, once it has answered | `redis` |
///
/// Paths are taken as they are written, without escapes. The servers' parameters and ports are those of
/// `RedisSettings::new` of `ratelimit-redis`.
///
/// Redis needs a runtime of tokio; SQLite's file is opened on the calling thread.
///
/// # Errors
///
/// If the URL names no store, has parameters that its kind does not have, or needs a feature that is off; or
/// if the store cannot be opened. No error shows the URL, which may hold a password.
pub async fn open(url: &str) -> Result<Arc<dyn Backend>, OpenError> {
    let (scheme, rest) = url.split_once(':').ok_or(OpenError::UnknownScheme)?;
    match scheme {
        "memory" if rest.is_empty() => Ok(Arc::new(Memory::new())),
        "memory" => Err(OpenError::UnknownParameter),
        "sqlite" => sqlite(rest),
        _ if is_redis(scheme) => redis(url).await,
        _ => Err(OpenError::UnknownScheme),
    }
}

fn sqlite(rest: &str) -> Result<Arc<dyn Backend>, OpenError> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.contains('?') {
        return Err(OpenError::UnknownParameter);
    }
    #[cfg(feature = "sqlite")]
    return Ok(Arc::new(ratelimit_sqlite::Sqlite::open(path)?));
    #[cfg(not(feature = "sqlite"))]
    Err(OpenError::NoFeature { feature: "sqlite" })
}

/// Redis and Valkey, encrypted or not, alone or several.
fn is_redis(scheme: &str) -> bool {
    let (server, _) = scheme.split_once(['-', '+']).unwrap_or((scheme, ""));
    ["redis", "rediss", "valkey", "valkeys"].contains(&server)
}

#[cfg(feature = "redis")]
async fn redis(url: &str) -> Result<Arc<dyn Backend>, OpenError> {
    Ok(Arc::new(ratelimit_redis::Redis::connect(url).await?))
}

#[cfg(not(feature = "redis"))]
#[expect(clippy::unused_async, reason = "the other one waits for the server")]
async fn redis(_: &str) -> Result<Arc<dyn Backend>, OpenError> {
    Err(OpenError::NoFeature { feature: "redis" })
}

/// The reason for which no store is opened.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL is none of a store.
    #[error("store URL begins with none of memory:, sqlite:, redis:, rediss:, valkey:, valkeys:")]
    UnknownScheme,
    /// The URL has something behind it that its kind does not have.
    #[error("store URL has a parameter that is not known for its scheme")]
    UnknownParameter,
    /// The URL is of a store that was not built in.
    #[error("store URL needs the feature {feature} of ratelimit-stores, which is off")]
    NoFeature {
        /// The feature to turn on.
        feature: &'static str,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] BackendError),
}

/// The README's example is a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
