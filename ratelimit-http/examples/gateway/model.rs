//! A model that repeats its prompt, a word at a time, as server-sent events.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router, body::Body, http::header, response::IntoResponse, routing::post, serve::ListenerExt,
};
use bytes::Bytes;
use http_body::Frame;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::mpsc::{self, Receiver, Sender},
};

pub(crate) async fn serve(listener: TcpListener) -> io::Result<()> {
    let listener = listener.tap_io(|connection| _ = connection.set_nodelay(true));
    axum::serve(listener, Router::new().route("/", post(complete))).await
}

async fn complete(request: String) -> impl IntoResponse {
    let (events, received) = mpsc::channel(1);
    tokio::spawn(generate(request, events));
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::new(Events(received)))
}

/// Sends the events of an answer, until the connection is closed.
async fn generate(request: String, events: Sender<String>) -> Option<()> {
    let request: Value = serde_json::from_str(&request).ok()?;
    let words: Vec<_> = request["prompt"].as_str()?.split_whitespace().collect();
    let most = usize::try_from(request["max_tokens"].as_u64()?).unwrap_or(usize::MAX);
    for word in words.iter().take(most) {
        tokio::time::sleep(TIME_PER_TOKEN).await;
        events.send(format!("data: {}\n\n", json!({ "token": word }))).await.ok()?;
    }
    let usage = json!({ "usage": { "total_tokens": words.len() + words.len().min(most) } });
    events.send(format!("data: {usage}\n\ndata: [DONE]\n\n")).await.ok()
}

const TIME_PER_TOKEN: Duration = Duration::from_millis(20);

struct Events(Receiver<String>);

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|event| event.map(|event| Ok(Frame::data(event.into()))))
    }
}
