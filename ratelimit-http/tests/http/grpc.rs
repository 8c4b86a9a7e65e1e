//! A gRPC server behind a layer, and a client of it, over a socket.

use std::{convert::Infallible, error::Error};

use axum::{Router, body::Body, routing::post};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use ratelimit_algorithms::{FixedWindow, Limiter, Micros};
use ratelimit_backend::Backend;
use ratelimit_http::{Peer, PeerAddr, RateLimitLayer, RequestKey, ResponseBody};
use tokio::net::TcpListener;
use tonic::{
    Code,
    service::Routes,
    transport::{Channel, Server, server::TcpConnectInfo},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt;
use tower::{Layer, ServiceExt, service_fn, util::MapRequestLayer};

use crate::support::{Broken, Far, before_any_task, on, one_per_minute, per_minute, poll, store};

type Outcome = Result<(), Box<dyn Error>>;

/// A client of a health service behind `layer`, which is told the peers as tonic knows them.
macro_rules! client {
    ($layer:expr) => {
        client!($layer, Routes::new(tonic_health::server::health_reporter().1))
    };
    ($layer:expr, $routes:expr) => {{
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let tell_peer = MapRequestLayer::new(|mut request: http::Request<tonic::body::Body>| {
            let info = request.extensions().get::<TcpConnectInfo>();
            if let Some(peer) = info.and_then(TcpConnectInfo::remote_addr) {
                request.extensions_mut().insert(Peer(peer));
            }
            request
        });
        let server = Server::builder().layer(tell_peer).layer($layer).add_routes($routes);
        let incoming = tonic::transport::server::TcpIncoming::from(listener);
        let serving = tokio::spawn(server.serve_with_incoming(incoming));
        let channel = Channel::from_shared(format!("http://{address}"))?.connect().await?;
        (HealthClient::new(channel), serving)
    }};
}

fn question() -> HealthCheckRequest {
    HealthCheckRequest { service: String::new() }
}

#[tokio::test]
async fn a_denied_call_is_exhausted_and_told_when_to_come_back() -> Outcome {
    let (layer, clock) = one_per_minute();
    let (mut client, serving) = client!(layer.grpc());

    let served = client.check(question()).await?;
    assert_eq!(
        served.metadata().get("x-ratelimit-remaining").map(|it| it.as_bytes()),
        Some(&b"0"[..])
    );
    clock.advance(Micros::new(17_999_001));
    let denied = client.check(question()).await.expect_err("limit is spent");
    assert_eq!((denied.code(), denied.message()), (Code::ResourceExhausted, "rate limit exceeded"));
    assert_eq!(denied.metadata().get("retry-after").map(|it| it.as_bytes()), Some(&b"43"[..]));
    let delay = denied.get_details_retry_info().and_then(|info| info.retry_delay);
    let delay = delay.expect("status says when to come back");
    assert_eq!(delay.as_micros(), 42_000_999, "to the microsecond");
    assert_eq!(pushback(&denied), Some("42001"), "rounded up");

    clock.advance(Micros::from_duration_floor(delay));
    client.check(question()).await?;
    serving.abort();
    Ok(())
}

// FAULTS 120.
#[tokio::test]
async fn a_store_that_fails_makes_the_call_unavailable() -> Outcome {
    let layer = RateLimitLayer::new(on(Broken::default()), "everyone").grpc();
    let (mut client, serving) = client!(layer);
    let failed = client.check(question()).await.expect_err("store fails");
    assert_eq!((failed.code(), failed.message()), (Code::Unavailable, "service unavailable"));
    let delay = failed.get_details_retry_info().and_then(|info| info.retry_delay);
    assert_eq!(delay.map(|delay| delay.as_secs()), Some(1));
    assert_eq!(pushback(&failed), Some("1000"));
    serving.abort();
    Ok(())
}

#[tokio::test]
async fn a_call_that_never_fits_is_not_to_be_retried() -> Outcome {
    let (mut client, serving) = client!(per_minute(5, PeerAddr).cost(6).grpc());
    let denied = client.check(question()).await.expect_err("it never fits");
    assert_eq!(denied.code(), Code::ResourceExhausted);
    assert_eq!(pushback(&denied), Some("-1"));
    serving.abort();
    Ok(())
}

/// Only failures are charged.
fn failures_only(response: &http::response::Parts) -> Option<u64> {
    response.status.is_success().then_some(0)
}

#[tokio::test]
async fn calls_are_settled_by_their_own_status() -> Outcome {
    let layer = per_minute(3, PeerAddr).grpc();
    let (mut client, serving) = client!(layer.settle_by(failures_only));
    for _ in 0..5 {
        client.check(question()).await?;
    }
    let unknown = || HealthCheckRequest { service: "unknown".to_owned() };
    for expected in [Code::NotFound, Code::NotFound, Code::NotFound, Code::ResourceExhausted] {
        let failed = client.check(unknown()).await.expect_err("there is no such service");
        assert_eq!(failed.code(), expected);
    }
    serving.abort();
    Ok(())
}

/// A whole message, and then the status that the request asks for.
async fn message_then_status(request: Request<Body>) -> Response<Body> {
    let status = request.headers().get("x-status").cloned();
    let message = Full::new(Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1]));
    let trailers = HeaderMap::from_iter(status.map(|it| (GRPC_STATUS, it)));
    let body = Body::new(message.with_trailers(async { Some(Ok(trailers)) }));
    let response = Response::builder().header("content-type", "application/grpc");
    response.body(body).expect("response is valid")
}

const GRPC_STATUS: http::HeaderName = http::HeaderName::from_static("grpc-status");

fn asking_for(status: &'static str) -> tonic::Request<HealthCheckRequest> {
    let mut request = tonic::Request::new(question());
    request.metadata_mut().insert("x-status", status.parse().expect("status is text"));
    request
}

// FAULTS 239.
#[tokio::test]
async fn a_call_that_fails_after_its_message_is_settled_by_its_trailers() -> Outcome {
    let limiter = Limiter::new(Far(store().0), "logins", FixedWindow::per_hour(3))?;
    let layer = RateLimitLayer::new(limiter, PeerAddr).grpc().settle_by(failures_only);
    let routes = Router::new().route("/grpc.health.v1.Health/Check", post(message_then_status));
    let (mut client, serving) = client!(layer, Routes::from(routes));
    for _ in 0..5 {
        client.check(asking_for("0")).await?;
    }
    for expected in [Code::Unauthenticated, Code::Unauthenticated, Code::Unauthenticated] {
        let failed = client.check(asking_for("16")).await.expect_err("it is asked to fail");
        assert_eq!(failed.code(), expected);
    }
    let denied = client.check(asking_for("0")).await.expect_err("three have failed");
    assert_eq!(denied.code(), Code::ResourceExhausted);
    serving.abort();
    Ok(())
}

type Call = ResponseBody<Body>;

/// The body of a response that trailers of this status end.
async fn call<B: Backend + Clone + 'static>(
    layer: &RateLimitLayer<B, &'static str>,
    status: Option<&'static str>,
) -> Call {
    let service = service_fn(async |request: Request<Body>| {
        Ok::<_, Infallible>(message_then_status(request).await)
    });
    let request = Request::get("/");
    let request = status.into_iter().fold(request, |it, status| it.header("x-status", status));
    let request = request.body(Body::empty()).expect("request is valid");
    let response = layer.layer(service).oneshot(request).await;
    response.expect("service is infallible").into_body()
}

async fn left<B: Backend>(limiter: &Limiter<B>) -> u64 {
    limiter.peek(&RequestKey::from("all")).await.expect("the store answers").remaining
}

fn hundred<B: Backend + Clone>(store: B) -> Limiter<B> {
    Limiter::new(store, "tokens", FixedWindow::per_hour(100)).expect("numbers are fine")
}

// FAULTS 239.
#[tokio::test]
async fn trailers_come_once_the_call_is_settled_and_without_a_status_the_charge_stays() -> Outcome {
    for (status, spent) in [(Some("0"), 1), (Some("14"), 503), (Some("odd"), 500), (None, 60)] {
        let limiter = Limiter::new(Far(store().0), "tokens", FixedWindow::per_hour(1_000))?;
        let layer = RateLimitLayer::new(limiter.clone(), "all").cost(60).refund_unanswered();
        let layer = layer.settle_by(|response| {
            assert!(response.headers.contains_key("grpc-status"));
            let status = u64::from(response.status.as_u16());
            Some(if status == 200 { 1 } else { status })
        });
        let body = call(&layer, status).await;
        assert_eq!(left(&limiter).await, 940, "reserved until the trailers come");
        let whole = body.collect().await?;
        let found = whole.trailers().and_then(|trailers| trailers.get("grpc-status"));
        assert_eq!(found.map(HeaderValue::as_bytes), status.map(str::as_bytes));
        assert_eq!(before_any_task(left(&limiter)), 1_000 - spent, "{status:?}");
    }
    Ok(())
}

// FAULTS 239.
#[tokio::test]
async fn a_call_that_fails_at_once_is_settled_by_its_head() {
    let limiter = hundred(store().0);
    let layer = RateLimitLayer::new(limiter.clone(), "all").cost(60);
    let layer = layer.settle_by(|response| (response.status == 404).then_some(1));
    let not_found = service_fn(async |_: Request<Body>| {
        let head = Response::builder().header("content-type", "application/grpc");
        let response = head.header(GRPC_STATUS, "5").body(Body::empty());
        Ok::<_, Infallible>(response.expect("response is valid"))
    });
    let response = layer.layer(not_found).oneshot(Request::new(Body::empty())).await;
    assert!(response.is_ok());
    assert_eq!(left(&limiter).await, 99);
}

// FAULTS 239.
#[tokio::test]
async fn a_call_that_is_cut_before_its_trailers_is_unanswered() {
    for (refunds, expected) in [(false, 70), (true, 100)] {
        let limiter = hundred(store().0);
        let layer = RateLimitLayer::new(limiter.clone(), "all").cost(30).settle_by(|_| Some(1));
        let layer = if refunds { layer.refund_unanswered() } else { layer };
        let mut body = call(&layer, Some("0")).await;
        assert!(poll(&mut body.frame()).is_ready());
        assert_eq!(left(&limiter).await, 70);
        drop(body);
        assert_eq!(left(&limiter).await, expected);
        let Ok((_, mut end)) = call(&layer, Some("0")).await.into_parts() else { panic!("denied") };
        std::future::poll_fn(|context| end.poll_settled(context)).await;
        assert_eq!(left(&limiter).await, expected - 30, "whose trailers nobody sees is charged");
    }
}

// FAULTS 228, 239.
#[tokio::test]
async fn a_settle_function_that_panics_at_the_trailers_fails_the_call_and_its_charge_stays()
-> Outcome {
    let limiter = hundred(store().0);
    let layer = RateLimitLayer::new(limiter.clone(), "all").cost(60).refund_unanswered();
    let layer = layer.settle_by(|_| panic!("unlucky"));
    let whole = call(&layer, Some("0")).await.collect().await?;
    assert_eq!(whole.trailers().map(|trailers| &trailers["grpc-status"]), Some(&"13".parse()?));
    assert_eq!(left(&limiter).await, 40);
    Ok(())
}

// FAULTS 228.
#[tokio::test]
async fn a_function_of_the_layer_that_panics_fails_one_call_and_closes_no_connection() -> Outcome {
    let unlucky = |request: &http::request::Parts, place: &str| {
        assert!(request.headers.get("x-status").is_none_or(|status| status != place));
    };
    let layer = per_minute(3, "everyone")
        .grpc()
        .cost_by(move |request| {
            unlucky(request, "cost");
            Some(1)
        })
        .skip(move |request| {
            unlucky(request, "skip");
            false
        })
        .settle_by(|response| {
            assert_ne!(response.headers["grpc-status"], "7");
            None
        });
    let routes = Router::new().route("/grpc.health.v1.Health/Check", post(message_then_status));
    let (mut client, serving) = client!(layer, Routes::from(routes));
    for place in ["cost", "skip", "7", "cost"] {
        let failed = client.check(asking_for(place)).await.expect_err("a function panics");
        assert_eq!(failed.code(), Code::Internal, "{place}");
    }
    for _ in 0..2 {
        client.check(asking_for("0")).await?;
    }
    let denied = client.check(asking_for("0")).await.expect_err("settling came after the charge");
    assert_eq!(denied.code(), Code::ResourceExhausted);
    serving.abort();
    Ok(())
}

/// The milliseconds after which a client may retry by itself.
fn pushback(status: &tonic::Status) -> Option<&str> {
    status.metadata().get("grpc-retry-pushback-ms").and_then(|millis| millis.to_str().ok())
}
