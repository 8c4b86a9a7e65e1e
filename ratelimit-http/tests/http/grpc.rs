//! A gRPC server behind a layer, and a client of it, over a socket.

use std::error::Error;

use ratelimit_algorithms::Micros;
use ratelimit_http::{Peer, PeerAddr, RateLimitLayer, grpc_status};
use tokio::net::TcpListener;
use tonic::{
    Code,
    transport::{Channel, Server, server::TcpConnectInfo},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt;
use tower::util::MapRequestLayer;

use crate::support::{Broken, on, one_per_minute, per_minute};

type Outcome = Result<(), Box<dyn Error>>;

/// A client of a health service behind `layer`, which is told the peers as tonic knows them.
macro_rules! client {
    ($layer:expr) => {{
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let tell_peer = MapRequestLayer::new(|mut request: http::Request<tonic::body::Body>| {
            let info = request.extensions().get::<TcpConnectInfo>();
            if let Some(peer) = info.and_then(TcpConnectInfo::remote_addr) {
                request.extensions_mut().insert(Peer(peer));
            }
            request
        });
        let (_, health) = tonic_health::server::health_reporter();
        let server = Server::builder().layer(tell_peer).layer($layer).add_service(health);
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

#[tokio::test]
async fn calls_are_settled_by_their_own_status() -> Outcome {
    let layer = per_minute(3, PeerAddr).grpc();
    let failures_only =
        |response: &http::response::Parts| grpc_status(response).is_none().then_some(0);
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

/// The milliseconds after which a client may retry by itself.
fn pushback(status: &tonic::Status) -> Option<&str> {
    status.metadata().get("grpc-retry-pushback-ms").and_then(|millis| millis.to_str().ok())
}
