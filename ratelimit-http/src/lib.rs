//! Rate limiting for HTTP services: a tower layer, key functions and headers.
//!
//! A [`RateLimitLayer`] checks each request with a limiter, under the key that a [`KeyFn`] finds in
//! it. Admitted requests go on to the service, and headers of their responses give the remaining
//! permits; the layer itself responds to the others. It works on any service of `http` requests:
//! axum, hyper, tonic.
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
//! # Counted requests
//!
//! Every request that reaches the layer and is not [skipped](RateLimitLayer::skip) counts once, by
//! its head alone; the layer does not read bodies. So a `HEAD` costs as much as a `GET`, a WebSocket
//! is charged when it is opened and never again, and a preflight `OPTIONS` is charged unless a CORS
//! layer outside of this one answers it. With axum, `Router::layer` also covers requests that match
//! no route, and `Router::route_layer` does not. A denied client is not asked for the body that it
//! has announced (`Expect: 100-continue`). A request whose connection ends before its response, by a
//! `GOAWAY` or otherwise, stays charged.
//!
//! If only the response tells the cost of a request, reserve it before and
//! [settle](RateLimitLayer::settle_by) it by the response. The cost of a stream is known at its
//! end: its handler reports it by an [`ActualCost`] with a layer that [settles at the
//! end](RateLimitLayer::settle_at_end).
//!
//! # Addresses of clients
//!
//! Servers know the address of the peer, and the layer finds it in the request's extensions:
//!
//! | server | set by |
//! |---|---|
//! | axum | `into_make_service_with_connect_info::<SocketAddr>()`, with the feature `axum` |
//! | hyper | the code that accepts connections inserts a [`Peer`]: example `hyper` |
//! | tonic | a layer makes a [`Peer`] of its `TcpConnectInfo`: example `tonic` |
//! | actix-web | `ratelimit-actix` does it |
//! | a Unix socket | the code that listens on it inserts a [`UnixSocket`] |
//!
//! A request without a peer has no address, and neither has one from a Unix socket, unless a proxy
//! there is [trusted](ClientIpBuilder::trusted_unix_socket) and names the client. Such requests do
//! not share one key: if the key is an address, they get 500, and nothing is charged.
//!
//! # Responses to rejected requests
//!
//! | reason | status | body | `Retry-After` |
//! |---|---|---|---|
//! | denied | 429 | `{"error":"rate limit exceeded"}` | whole seconds, at least 1 |
//! | a cost beyond the limit | 429 | the same | none: no wait would help |
//! | a bad key, any other bad cost | 400 | `{"error":"bad request"}` | none |
//! | no peer, a function of the layer that failed or panicked | 500 | `{"error":"internal server error"}` | none |
//! | a key function that took too long | 503 | `{"error":"service unavailable"}` | 1 |
//! | a store that did not answer | 503 | `{"error":"service unavailable"}` | 1 |
//!
//! [`RateLimitLayer::problem_details`] and [`RateLimitLayer::respond_with`] change status and body.
//! All responses carry `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset` (seconds
//! from now, rounded up), or the headers that [`RateLimitLayer::headers`] lists. If a response has
//! them already, from the application or another layer, the set with the fewest remaining stands; of
//! two alike, the one that resets later. There are never two sets. The lists of draft 10 get one
//! more item, unless they have one of the same name. No response contains a key or the text of an
//! error, and none contains a digest unless [`partition_keys`](RateLimitLayer::partition_keys) is
//! set.
//!
//! # Requests without a limit
//!
//! [`skip`](RateLimitLayer::skip) and [`skip_networks`](RateLimitLayer::skip_networks) pick
//! requests that are not limited. To watch a limit before it is enforced, or to enforce it for a
//! share of the keys, put `Shadow` of `ratelimit-resilience` around the store: no header mentions a
//! limit that is only watched.
//!
//! # Outgoing requests
//!
//! An [`OutgoingLayer`] is for a client: its requests wait for their turn, and for as long as
//! servers ask. [`Advice`] reads the headers of servers, in any of these forms.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod layer;
#[macro_use]
mod service;

mod admission;
mod limit;
mod pipeline;
mod response;
mod settle;

mod actual_cost;
mod body;
mod headers;
mod pending_settlements;

mod diagnostics;

mod key;

mod outgoing;

pub use crate::{
    actual_cost::{ActualCost, UnknownLimit},
    body::ResponseBody,
    diagnostics::Warning,
    headers::{HeaderFormat, QuotaUnit},
    key::{
        And, ApiKey, AsyncKeyFn, Awaited, ClientIp, ClientIpBuilder, ClientIpError, Extension,
        FoundKey, KeyError, KeyFn, MethodName, Or, Peer, PeerAddr, RequestKey, TargetHost,
        UnixSocket,
    },
    layer::RateLimitLayer,
    limit::RequestLimit,
    outgoing::{Advice, AdvisedLimit, Outgoing, OutgoingError, OutgoingLayer},
    response::Rejection,
    service::{RateLimitService, ResponseFuture},
    settle::{BodyEnd, cost_header},
};

#[cfg(feature = "axum")]
pub use crate::key::MatchedRoute;

/// The README's examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
