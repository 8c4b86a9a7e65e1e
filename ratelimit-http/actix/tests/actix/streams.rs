//! Streams over a real socket, whose cost is told at their end.

use std::{
    convert::Infallible,
    net::TcpListener,
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    App, HttpResponse, HttpServer,
    body::{BodySize, MessageBody},
    http::StatusCode,
    web,
};
use bytes::Bytes;
use ratelimit_actix::RateLimit;
use ratelimit_algorithms::{Backend, FixedWindow, Limiter};
use ratelimit_backend::{Names, Reply};
use ratelimit_core::{Action, Batch};
use ratelimit_http::{ActualCost, RateLimitLayer, RequestKey, RequestLimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};

use crate::support::{Store, store};

/// A body whose chunks come from a test.
struct Channel(mpsc::Receiver<Bytes>);

impl MessageBody for Channel {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(Ok))
    }
}

/// A store that has to be awaited.
#[derive(Clone)]
struct Far(Store);

impl Backend for Far {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        Reply::waiting(async move {
            tokio::task::yield_now().await;
            self.0.apply(batch, action).await
        })
    }

    fn names(&self) -> &Names {
        self.0.names()
    }
}

/// The streams that are handed to a test, each with the handle for its cost.
type Started = mpsc::Sender<(mpsc::Sender<Bytes>, ActualCost)>;

async fn stream(
    cost: web::ReqData<ActualCost>,
    started: web::Data<Started>,
) -> HttpResponse<Channel> {
    let (sender, chunks) = mpsc::channel(16);
    started.send((sender, cost.into_inner())).await.unwrap();
    HttpResponse::with_body(StatusCode::OK, Channel(chunks))
}

async fn assert_settled_at_the_end<B: Backend + Clone + 'static>(store: B) {
    let limiter =
        |name, limit| Limiter::new(store.clone(), name, FixedWindow::per_day(limit)).unwrap();
    let (calls, words) = (limiter("calls", 10), limiter("words", 1_000));
    let layer = RateLimitLayer::new(calls.clone(), "all")
        .also(RequestLimit::new(words.clone(), "all").cost(100))
        .settle_at_end();
    let left = async || {
        let key = RequestKey::from("all");
        let (calls, words) = (calls.peek(&key).await, words.peek(&key).await);
        [calls.unwrap().remaining, words.unwrap().remaining]
    };

    let (started, mut streams): (Started, _) = mpsc::channel(16);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (data, limit) = (web::Data::new(started), layer.clone());
    let app = move || {
        let stream = web::get().to(stream);
        App::new().app_data(data.clone()).wrap(RateLimit::new(limit.clone())).route("/", stream)
    };
    let server = HttpServer::new(app).workers(1).listen(listener).unwrap().run();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    let client = async || {
        let mut client = TcpStream::connect(address).await.unwrap();
        let head = b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
        client.write_all(head).await.unwrap();
        client
    };

    let mut whole = client().await;
    let (sender, cost) = streams.recv().await.unwrap();
    cost.add("words", 20).unwrap();
    cost.add("words", 1).unwrap();
    sender.send(Bytes::from_static(b"word ")).await.unwrap();
    assert_eq!(left().await, [9, 900], "reserved until the end");
    drop(sender);
    let mut text = String::new();
    whole.read_to_string(&mut text).await.unwrap();
    assert!(text.contains("word "), "{text}");
    assert_eq!(left().await, [9, 979], "settled before the end is sent");

    let mut hangs_up = client().await;
    let (sender, cost) = streams.recv().await.unwrap();
    sender.send(Bytes::from_static(b"word ")).await.unwrap();
    hangs_up.read_u8().await.unwrap();
    cost.set("words", 33).unwrap();
    cost.set("calls", 0).unwrap();
    drop(hangs_up);
    // The server notices when it writes.
    while sender.send(Bytes::from_static(b"word ")).await.is_ok() {
        tokio::task::yield_now().await;
    }
    // The worker is another thread, which drops what is left of the body.
    while left().await != [9, 946] {
        layer.settled().await;
        tokio::task::yield_now().await;
    }
    handle.stop(false).await;
}

#[actix_web::test]
async fn a_stream_is_settled_at_its_end() {
    assert_settled_at_the_end(store()).await;
}

#[actix_web::test]
async fn a_stream_is_settled_at_its_end_on_a_store_that_is_awaited() {
    assert_settled_at_the_end(Far(store())).await;
}
