//! Streams over sockets, on every kind of store.

use std::io;

use axum::{Router, extract::Extension, response::Response, routing::get};
use ratelimit_algorithms::{Align, Backend, FixedWindow, InFlight, Limiter};
use ratelimit_http::{ActualCost, RateLimitLayer, RequestKey, RequestLimit};
use ratelimit_memory::Memory;
use ratelimit_redis::RedisSettings;
use ratelimit_servers::Server;
use ratelimit_sqlite::Sqlite;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use super::{Channel, Outcome, Sender, Streams, data, two_methods::two_methods};
use crate::support::{Far, store};

/// A server whose streams are handed to a test, each with the handle for its cost.
struct StreamServer {
    address: std::net::SocketAddr,
    streams: mpsc::Receiver<(Sender, ActualCost)>,
    serving: tokio::task::JoinHandle<()>,
}

async fn serve<B: Backend + Clone + 'static>(
    layer: &RateLimitLayer<B, &'static str>,
) -> io::Result<StreamServer> {
    let (started, received) = mpsc::channel(16);
    let stream = async move |Extension(cost): Extension<ActualCost>| {
        let (sender, frames) = mpsc::channel(16);
        started.send((sender, cost)).await.expect("the test goes on");
        Response::new(axum::body::Body::new(Channel(frames)))
    };
    let unlucky = async |Extension(cost): Extension<ActualCost>| -> &'static str {
        cost.set("words", 5).expect("there is such a limit");
        panic!("unlucky")
    };
    let app = Router::new().route("/", get(stream)).route("/unlucky", get(unlucky));
    let app = app.layer(layer.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let serving = tokio::spawn(async move {
        axum::serve(listener, app).await.expect("it serves until it is aborted");
    });
    Ok(StreamServer { address, streams: received, serving })
}

/// A client that has sent its request.
async fn client(server: &StreamServer, path: &str) -> io::Result<TcpStream> {
    let mut client = TcpStream::connect(server.address).await?;
    let head = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    client.write_all(head.as_bytes()).await?;
    Ok(client)
}

async fn assert_settled_at_the_end<B: Backend + Clone + 'static>(store: &B) -> Outcome {
    let streams = Streams::new(store);
    let mut server = serve(&streams.layer).await?;

    // The stream tells what it costs, and is read to its end.
    let mut whole = client(&server, "/").await?;
    let (sender, cost) = server.streams.recv().await.ok_or("no stream")?;
    assert_eq!(streams.left().await, [9, 900], "reserved");
    for _ in 0..3 {
        sender.send(data("word ")).await?;
        cost.add("words", 7)?;
    }
    assert_eq!(streams.left().await, [9, 900], "reserved until the end");
    drop(sender);
    let mut text = String::new();
    whole.read_to_string(&mut text).await?;
    assert!(text.contains("word "), "{text}");
    assert_eq!(streams.left().await, [9, 979], "settled before the end is sent");

    // The client hangs up in the middle.
    let mut hangs_up = client(&server, "/").await?;
    let (sender, cost) = server.streams.recv().await.ok_or("no stream")?;
    sender.send(data("word ")).await?;
    hangs_up.read_u8().await?;
    cost.set("words", 33)?;
    cost.set("calls", 0)?;
    drop(hangs_up);
    sender.closed().await;
    streams.layer.settled().await;
    assert_eq!(streams.left().await, [9, 946]);
    cost.set("words", 500)?;
    assert_eq!(streams.left().await, [9, 946], "too late");

    // The stream fails.
    let mut fails = client(&server, "/").await?;
    let (sender, cost) = server.streams.recv().await.ok_or("no stream")?;
    cost.add("words", 106)?;
    sender.send(Err(io::Error::other("no more words"))).await?;
    sender.closed().await;
    streams.layer.settled().await;
    assert_eq!(streams.left().await, [8, 840]);
    assert!(cost.set("sentences", 1).is_err());
    let _ = fails.read_to_string(&mut text).await;

    // Nobody tells.
    let mut silent = client(&server, "/").await?;
    let (sender, _) = server.streams.recv().await.ok_or("no stream")?;
    drop(sender);
    silent.read_to_string(&mut text).await?;
    streams.layer.settled().await;
    assert_eq!(streams.left().await, [7, 740], "it has cost what was reserved");

    // The handler tells, and panics before it has responded.
    let mut unlucky = client(&server, "/unlucky").await?;
    let _ = unlucky.read_to_string(&mut text).await;
    streams.layer.settled().await;
    assert_eq!(streams.left().await, [6, 735]);
    server.serving.abort();
    Ok(())
}

#[tokio::test]
async fn a_stream_is_settled_at_its_end_in_memory() -> Outcome {
    assert_settled_at_the_end(&Memory::new()).await
}

#[tokio::test]
async fn a_stream_is_settled_at_its_end_on_a_store_that_is_awaited() -> Outcome {
    assert_settled_at_the_end(&Far(store().0)).await
}

#[tokio::test]
async fn a_stream_is_settled_at_its_end_on_a_store_of_two_methods() -> Outcome {
    assert_settled_at_the_end(&two_methods()).await
}

#[tokio::test]
async fn a_stream_is_settled_at_its_end_in_sqlite() -> Outcome {
    assert_settled_at_the_end(&Sqlite::in_memory()?).await
}

#[tokio::test]
async fn a_stream_is_settled_at_its_end_in_redis() -> Outcome {
    let server = Server::start(&[]).ok_or("redis-server is installed")?;
    assert_settled_at_the_end(&RedisSettings::new(&server.url())?.connect().await?).await
}

/// Two requests at a time, whose permits are held until their bodies have ended.
async fn assert_held_for_the_body<B: Backend + Clone + 'static>(store: &B) -> Outcome {
    let at_once = Limiter::new(store.clone(), "at-once", InFlight::limit(2))?;
    let words = FixedWindow::per_day(100).align(Align::First);
    let words = Limiter::new(store.clone(), "words", words)?;
    let layer = RateLimitLayer::new(at_once.clone(), "all")
        .also(RequestLimit::new(words.clone(), "all").cost(10))
        .settle_at_end();
    let mut server = serve(&layer).await?;
    let key = RequestKey::from("all");
    let free = async || at_once.peek(&key).await.expect("it answers").remaining;

    let mut whole = client(&server, "/").await?;
    let (whole_sender, _) = server.streams.recv().await.ok_or("no stream")?;
    let mut hangs_up = client(&server, "/").await?;
    let (sender, cost) = server.streams.recv().await.ok_or("no stream")?;
    assert_eq!(free().await, 0);
    let mut text = String::new();
    client(&server, "/").await?.read_to_string(&mut text).await?;
    assert!(text.starts_with("HTTP/1.1 429 "), "{text}");

    sender.send(data("word ")).await?;
    hangs_up.read_u8().await?;
    cost.set("words", 3)?;
    drop(hangs_up);
    sender.closed().await;
    layer.settled().await;
    assert_eq!(free().await, 1, "the client has left");
    drop(whole_sender);
    whole.read_to_string(&mut text).await?;
    assert_eq!(free().await, 2, "it has been sent");
    assert_eq!(words.peek(&key).await?.remaining, 87, "10 are kept, and 3 of the other");

    client(&server, "/unlucky").await?.read_to_string(&mut text).await.ok();
    layer.settled().await;
    assert_eq!(free().await, 2, "a handler that panics holds none");
    server.serving.abort();
    Ok(())
}

#[tokio::test]
async fn permits_in_flight_are_held_for_the_body_in_memory() -> Outcome {
    assert_held_for_the_body(&Memory::new()).await
}

#[tokio::test]
async fn permits_in_flight_are_held_for_the_body_on_a_store_that_is_awaited() -> Outcome {
    assert_held_for_the_body(&Far(store().0)).await
}

#[tokio::test]
async fn permits_in_flight_are_held_for_the_body_on_a_store_of_two_methods() -> Outcome {
    assert_held_for_the_body(&two_methods()).await
}

#[tokio::test]
async fn permits_in_flight_are_held_for_the_body_in_sqlite() -> Outcome {
    assert_held_for_the_body(&Sqlite::in_memory()?).await
}

#[tokio::test]
async fn permits_in_flight_are_held_for_the_body_in_redis() -> Outcome {
    let server = Server::start(&[]).ok_or("redis-server is installed")?;
    assert_held_for_the_body(&RedisSettings::new(&server.url())?.connect().await?).await
}
