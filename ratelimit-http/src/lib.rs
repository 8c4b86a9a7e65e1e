//! Rate limiting for HTTP services: a tower layer, key functions and headers.
//!
//! A [`RateLimitLayer`] asks a limiter about each request, under the key that a [`KeyFn`] finds in
//! it. What is admitted goes on to the service, and its response tells how much is left; the rest
//! is answered here. It works on any service of `http` requests: axum, hyper, tonic.
//!
//! ```
//! # use axum::{Router, body::Body, http::Request, routing::get};
//! # use ratelimit_algorithms::{Limiter, TokenBucket};
//! # use ratelimit_http::{ApiKey, KeyFn, PeerAddr, RateLimitLayer};
//! # use ratelimit_memory::Memory;
//! # use tower::ServiceExt;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let limiter = Limiter::new(Memory::new(), "api", TokenBucket::per_hour(60).burst(1))?;
//! let client = ApiKey::header("x-api-key").or(PeerAddr);
//! let app: Router = Router::new()
//!     .route("/", get(|| async { "hello" }))
//!     .layer(RateLimitLayer::new(limiter, client));
//!
//! let request = || Request::get("/").header("x-api-key", "k1").body(Body::empty());
//! assert_eq!(app.clone().oneshot(request()?).await?.status(), 200);
//! let denied = app.oneshot(request()?).await?;
//! assert_eq!(denied.status(), 429);
//! assert_eq!(denied.headers()["retry-after"], "60");
//! # Ok(())
//! # }
//! ```
//!
//! # What is counted
//!
//! Every request that reaches the layer and is not [skipped](RateLimitLayer::skip), once, by its
//! head alone; the body is not read. So a `HEAD` costs what a `GET` does, a WebSocket is charged
//! when it is opened and never again, and a preflight `OPTIONS` is charged unless a CORS layer
//! outside of this one answers it. With axum, `Router::layer` also covers requests that match no
//! route, and `Router::route_layer` does not. Who is denied is not asked for the body it has
//! announced (`Expect: 100-continue`), and a request whose connection ends before its response, by
//! a `GOAWAY` or otherwise, stays charged.
//!
//! A cost that is known afterwards only is reserved before and
//! [settled](RateLimitLayer::settle_by) by the response.
//!
//! # Where requests come from
//!
//! Servers know the peer, and the layer is told of it in the request's extensions:
//!
//! | | by |
//! |---|---|
//! | axum | `into_make_service_with_connect_info::<SocketAddr>()`, with the feature `axum` |
//! | hyper | a [`Peer`] that is inserted by who accepts the connection: example `hyper` |
//! | tonic | a [`Peer`] that is made of its `TcpConnectInfo`: example `tonic` |
//! | actix-web | nothing: `ratelimit-actix` says it |
//! | a Unix socket | [`UnixSocket`], by who listens on it |
//!
//! A request that comes from nowhere has no address, and neither has one from a Unix socket, unless
//! a proxy there is [trusted](ClientIpBuilder::trusted_unix_socket) and names the client. They are
//! not counted together under a name that all of them share: where the key is an address, the
//! answer is 500, and nothing is charged.
//!
//! # What is answered
//!
//! | | status | body | `Retry-After` |
//! |---|---|---|---|
//! | denied | 429 | `{"error":"rate limit exceeded"}` | whole seconds, at least 1 |
//! | a cost beyond the limit | 429 | the same | none: no wait would help |
//! | a bad key, any other bad cost | 400 | `{"error":"bad request"}` | none |
//! | no peer, a key function that failed | 500 | `{"error":"internal server error"}` | none |
//! | a key function that took too long | 503 | `{"error":"service unavailable"}` | 1 |
//! | a store that did not answer | 503 | `{"error":"service unavailable"}` | 1 |
//!
//! [`RateLimitLayer::problem_details`] and [`RateLimitLayer::respond_with`] change status and body.
//! Denied and admitted alike say `X-RateLimit-Limit`, `X-RateLimit-Remaining` and
//! `X-RateLimit-Reset` (seconds from now, rounded up), or what [`RateLimitLayer::headers`] asks for.
//! Where the response has these already, from the application or another layer, the set with the
//! fewest remaining stands, and of two alike the one that resets later: never two sets. The lists
//! of draft 10 get one more item, unless they have one of the same name. Nothing that is sent holds
//! a key or an error's text, nor a digest, but where
//! [`partition_keys`](RateLimitLayer::partition_keys) asks for one.
//!
//! # What is not limited
//!
//! What a [`skip`](RateLimitLayer::skip) picks, and the networks of
//! [`skip_networks`](RateLimitLayer::skip_networks). A limit that is only watched, and one that is
//! enforced for some, are matters of the store: `Shadow` of `ratelimit-resilience`, around it.
//!
//! # Of outgoing requests
//!
//! An [`OutgoingLayer`] is for a client: its requests wait for their turn, and as long as servers
//! ask them to. What servers say is [`Advice`], which is read from any form of these headers.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[macro_use]
mod accessors;

mod layer;
mod service;

mod admission;
mod answer;
mod asked;
mod diagnostics;
mod inspect;
mod problem;
mod response;
mod rule;
mod settle;

mod body;
mod future;
mod headers;

mod key;

mod outgoing;

pub use crate::{
    body::ResponseBody,
    diagnostics::Warning,
    future::ResponseFuture,
    headers::{HeaderFormat, QuotaUnit},
    key::{
        And, ApiKey, AsyncKeyFn, Awaited, ClientIp, ClientIpBuilder, ClientIpError, Extension,
        FoundKey, KeyError, KeyFn, MethodName, Or, Peer, PeerAddr, RequestKey, TargetHost,
        UnixSocket,
    },
    layer::RateLimitLayer,
    outgoing::{Advice, AdvisedLimit, Outgoing, OutgoingError, OutgoingLayer},
    response::Rejection,
    service::RateLimit,
    settle::cost_header,
};

#[cfg(feature = "axum")]
pub use crate::key::MatchedRoute;

/// The README's examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// And so are the workspace's.
#[cfg(all(doctest, feature = "axum"))]
#[doc = include_str!("../../README.md")]
struct WorkspaceReadme;

#[cfg(doctest)]
#[doc = include_str!("../../docs/migrating.md")]
struct Migrating;
