//! Rate limiting for actix-web: the layer of `ratelimit-http` as its middleware.
//!
//! A [`RateLimit`] is made of a [`RateLimitLayer`](ratelimit_http::RateLimitLayer), with all that
//! one can be told: keys, costs, rules of what to skip, several limits, headers, answers. What it
//! decides and says is the same, to the byte, because it is that layer that does it.
//!
//! ```
//! # use actix_web::{App, http::StatusCode, test, web};
//! # use ratelimit_algorithms::{Limiter, TokenBucket};
//! # use ratelimit_http::{ApiKey, KeyFn, PeerAddr, RateLimitLayer};
//! # use ratelimit_actix::RateLimit;
//! # use ratelimit_memory::Memory;
//! # #[actix_web::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let limiter = Limiter::new(Memory::new(), "api", TokenBucket::per_hour(60).burst(1))?;
//! let client = ApiKey::header("x-api-key").or(PeerAddr);
//! let layer = RateLimitLayer::new(limiter, client);
//!
//! // In the function that makes the app of each worker: clones share the budgets.
//! let app = App::new()
//!     .wrap(RateLimit::new(layer.clone()))
//!     .route("/", web::get().to(async || "hello"));
//!
//! let app = test::init_service(app).await;
//! let request = || test::TestRequest::get().insert_header(("x-api-key", "k1")).to_request();
//! assert_eq!(test::call_service(&app, request()).await.status(), StatusCode::OK);
//! let denied = test::call_service(&app, request()).await;
//! assert_eq!(denied.status(), StatusCode::TOO_MANY_REQUESTS);
//! assert_eq!(denied.headers().get("retry-after").unwrap(), "60");
//! # Ok(())
//! # }
//! ```
//!
//! # What the layer sees
//!
//! The head of the request, made anew, because actix-web has an older `http` than the layer; the
//! body is not touched. The peer's address is in its extensions, as a
//! [`Peer`](ratelimit_http::Peer). A worker that listens on a Unix socket has none to tell: say so
//! with [`RateLimit::tell`], which also takes along whatever else a key is made of.
//!
//! The [`Decision`](ratelimit_algorithms::Decision) about a request that is admitted is in the
//! extensions of actix-web's request.

mod middleware;

mod head;
mod rejection;
mod service;

pub use crate::{
    middleware::{RateLimit, RateLimitMiddleware},
    rejection::Answer,
};

/// The README's examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
