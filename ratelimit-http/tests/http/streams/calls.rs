//! Calls of gRPC whose server streams, by tonic over a socket.

use ratelimit_algorithms::{Align, Backend, FixedWindow, InFlight, Limiter};
use ratelimit_http::{ActualCost, RateLimitLayer, RequestKey, RequestLimit};
use ratelimit_memory::Memory;
use tokio::{net::TcpListener, sync::mpsc};
use tonic::{
    Code,
    transport::{Channel, Server, server::TcpIncoming},
};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_client::HealthClient},
    server::HealthReporter,
};
use tower::util::MapRequestLayer;

use super::{Outcome, two_methods::two_methods};
use crate::support::{Far, store};

/// A service that streams its health, the handles for the costs of its calls, and a client.
struct Watched {
    health: HealthReporter,
    costs: mpsc::UnboundedReceiver<ActualCost>,
    client: HealthClient<Channel>,
    serving: tokio::task::JoinHandle<Result<(), tonic::transport::Error>>,
}

async fn watch<B: Backend + Clone + 'static>(
    layer: RateLimitLayer<B, &'static str>,
) -> Result<Watched, Box<dyn std::error::Error>> {
    let (health, service) = tonic_health::server::health_reporter();
    let (told, costs) = mpsc::unbounded_channel();
    let tell = MapRequestLayer::new(move |request: http::Request<tonic::body::Body>| {
        let cost = request.extensions().get::<ActualCost>().expect("the layer is outside");
        told.send(cost.clone()).expect("the test goes on");
        request
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let server = Server::builder().layer(layer.grpc()).layer(tell).add_service(service);
    let serving = tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let client = HealthClient::new(Channel::from_shared(address)?.connect().await?);
    Ok(Watched { health, costs, client, serving })
}

/// Two calls at once, and a thousand words a day, of which each call reserves a hundred.
async fn assert_settled_at_the_end<B: Backend + Clone + 'static>(store: B) -> Outcome {
    let calls = Limiter::new(store.clone(), "calls", InFlight::limit(2))?;
    let words = FixedWindow::per_day(1_000).align(Align::First);
    let words = Limiter::new(store, "words", words)?;
    let layer = RateLimitLayer::new(calls.clone(), "all")
        .also(RequestLimit::new(words.clone(), "all").cost(100))
        .settle_at_end();
    let Watched { mut health, mut costs, mut client, serving } = watch(layer.clone()).await?;
    let key = RequestKey::from("all");
    let left = async || {
        let (calls, words) = (calls.peek(&key).await, words.peek(&key).await);
        [calls.expect("it answers").remaining, words.expect("it answers").remaining]
    };
    let request = || HealthCheckRequest { service: "words".to_owned() };
    health.set_service_status("words", ServingStatus::Serving).await;

    // One is read to its end, the client of the other one leaves.
    let mut whole = client.watch(request()).await?.into_inner();
    let whole_cost = costs.recv().await.ok_or("no call")?;
    let mut is_left = client.watch(request()).await?.into_inner();
    let cost = costs.recv().await.ok_or("no call")?;
    assert!(whole.message().await?.is_some() && is_left.message().await?.is_some());
    assert_eq!(left().await, [0, 800], "reserved");
    let denied = client.watch(request()).await.expect_err("two are watching");
    assert_eq!(denied.code(), Code::ResourceExhausted);

    cost.add("words", 7)?;
    drop(is_left);
    // The server hears of it from the network.
    while left().await != [1, 893] {
        tokio::task::yield_now().await;
    }
    whole_cost.set("words", 250)?;
    health.clear_service_status("words").await;
    assert!(whole.message().await?.is_none(), "there is no such service any more");
    layer.settled().await;
    assert_eq!(left().await, [2, 743]);

    // A call that fails at once has cost what was reserved.
    let failed = client.watch(request()).await.expect_err("there is no such service");
    assert_eq!(failed.code(), Code::NotFound);
    layer.settled().await;
    assert_eq!(left().await, [2, 643]);
    serving.abort();
    Ok(())
}

#[tokio::test]
async fn a_call_is_settled_at_the_end_of_its_stream() -> Outcome {
    assert_settled_at_the_end(Memory::new()).await?;
    assert_settled_at_the_end(Far(store().0)).await?;
    assert_settled_at_the_end(two_methods()).await
}
