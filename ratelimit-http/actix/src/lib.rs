//! Rate limiting for actix-web: the layer of `ratelimit-http` as its middleware.
//!
//! A [`RateLimit`] is made of a [`RateLimitLayer`](ratelimit_http::RateLimitLayer), with all of its
//! options: keys, costs, skipped requests, several limits, headers, responses. Decisions and
//! responses are the same to the byte, because that layer makes them.
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
//! # Requests as the layer sees them
//!
//! The layer sees a copy of the request's head, because actix-web has an older `http` than the
//! layer; the body is not touched. The copy has the peer's address in its extensions, as a
//! [`Peer`](ratelimit_http::Peer). A worker that listens on a Unix socket has no such address:
//! insert a [`UnixSocket`](ratelimit_http::UnixSocket) with [`RateLimit::extensions`], which also
//! copies anything else that keys are made of.
//!
//! A middleware further inside that refuses a request by an error has responded to it, as a handler
//! has: the response that actix-web makes of the error is settled, and carries the headers.
//!
//! The [`Decision`](ratelimit_algorithms::Decision) about a request that is admitted is in the
//! extensions of actix-web's request, and so is the [`ActualCost`](ratelimit_http::ActualCost) of a
//! layer that settles at the end of the body.

mod middleware;

mod body;
mod error;
mod head;
mod rejection;
mod service;

pub use crate::{
    body::SettledBody,
    middleware::{RateLimit, RateLimitMiddleware},
    rejection::RejectionBody,
};

/// The README's examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
