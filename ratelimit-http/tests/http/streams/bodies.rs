//! Bodies of a layer's responses, whoever sends them.

use std::{
    convert::Infallible,
    future::Future,
    io,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use ratelimit_algorithms::{Align, Backend, FixedWindow, Limiter, TokenBucket};
use ratelimit_http::{ActualCost, RateLimitLayer, RequestKey, UnknownLimit};
use ratelimit_memory::Memory;
use tokio::sync::{Mutex, mpsc};
use tower::{Layer, ServiceExt, service_fn};

use super::{Channel, Outcome, Sender, Streams, data};
use crate::support::{Far, from, store};

/// One response of a service behind the layer, and the sender of its frames.
async fn one<B: Backend + Clone + 'static>(
    streams: &Streams<B>,
    content_type: &'static str,
) -> (http::Response<impl Body<Data = Bytes, Error = io::Error>>, Sender, ActualCost) {
    let (sender, frames) = mpsc::channel(16);
    let (frames, handle) = (Arc::new(Mutex::new(Some(frames))), Arc::new(Mutex::new(None)));
    let service = service_fn({
        let handle = handle.clone();
        move |request: Request<axum::body::Body>| {
            let (frames, handle) = (frames.clone(), handle.clone());
            async move {
                let cost = request.extensions().get::<ActualCost>().cloned();
                *handle.lock().await = cost;
                let frames = frames.lock().await.take().expect("it is called once");
                let mut response = http::Response::new(Channel(frames));
                let kind = HeaderValue::from_static(content_type);
                response.headers_mut().insert("content-type", kind);
                Ok::<_, Infallible>(response)
            }
        }
    });
    let response = streams.layer.layer(service).oneshot(from("192.0.2.1:1")).await;
    let cost = handle.lock().await.take().expect("the handle is there");
    (response.expect("is infallible"), sender, cost)
}

#[tokio::test]
async fn trailers_of_a_call_are_settled_by_and_wait_for_that() -> Outcome {
    let mut streams = Streams::new(&Far(store().0));
    let layer = streams.layer.clone();
    streams.layer = layer.settle_by(|response| response.status.is_success().then_some(3));
    for (status, expected) in [("0", [7, 958]), ("5", [9, 958])] {
        let (response, sender, cost) = one(&streams, "application/grpc").await;
        cost.set("words", 42)?;
        sender.send(data("message")).await?;
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static(status));
        sender.send(Ok(Frame::trailers(trailers))).await?;
        drop(sender);
        let collected = response.into_body().collect().await?;
        assert_eq!(collected.trailers().ok_or("no trailers")?["grpc-status"], status);
        assert_eq!(streams.left().await, expected, "{status}");
        streams.reset().await;
    }
    Ok(())
}

#[tokio::test]
async fn a_body_that_is_dropped_while_it_settles_is_settled_all_the_same() -> Outcome {
    let streams = Streams::new(&Far(store().0));
    let (response, sender, cost) = one(&streams, "text/plain").await;
    cost.set("words", 42)?;
    drop(sender);
    let mut body = Box::pin(response.into_body());
    let waiting =
        std::future::poll_fn(|context| Poll::Ready(body.as_mut().poll_frame(context).is_pending()));
    assert!(waiting.await, "the end waits for the store");
    assert!(!body.is_end_stream());
    drop(body);
    streams.layer.settled().await;
    assert_eq!(streams.left().await, [9, 958]);
    Ok(())
}

/// Two layers, the inner one around the service.
#[tokio::test]
async fn layers_inside_of_each_other_have_one_handle() -> Outcome {
    let (outer, inner) = (Streams::new(&Memory::new()), Memory::new());
    let bytes = Limiter::new(inner, "bytes", TokenBucket::per_hour(100))?;
    let layer = RateLimitLayer::new(bytes.clone(), "all").cost(10).settle_at_end();
    let service = service_fn(async |request: Request<axum::body::Body>| {
        let cost = request.extensions().get::<ActualCost>().expect("it is there");
        for (limit, told) in [("words", 7), ("bytes", 20), ("calls", 2)] {
            cost.set(limit, told).expect("there is such a limit");
        }
        let unknown = cost.add("sentences", 1).expect_err("there is no such limit");
        assert!(matches!(unknown, UnknownLimit { name, .. } if name == "sentences"));
        Ok::<_, Infallible>(http::Response::new(http_body_util::Empty::<Bytes>::new()))
    });
    let service = outer.layer.layer(layer.layer(service));
    drop(service.oneshot(from("192.0.2.1:1")).await?);
    assert_eq!(outer.left().await, [8, 993]);
    assert_eq!(bytes.peek(&RequestKey::from("all")).await?.remaining, 80);
    Ok(())
}

/// Of a thousand streams at once a tenth hangs up, and another tenth fails.
async fn assert_exact<B: Backend + Clone + 'static>(store: B) -> Outcome {
    const STREAMS: u64 = 1_000;
    let words = Limiter::new(store, "words", FixedWindow::per_day(1_000_000).align(Align::First))?;
    let everyone = |_: &http::request::Parts| Ok(RequestKey::from("all"));
    let layer = RateLimitLayer::new(words.clone(), everyone).cost(500).settle_at_end();
    let service = service_fn(async |request: Request<axum::body::Body>| {
        let cost = request.extensions().get::<ActualCost>().expect("it is there").clone();
        let (sender, frames) = mpsc::channel(1);
        let number: u64 = request.uri().path()[1..].parse().expect("a number");
        tokio::spawn(async move {
            for _ in 0..=number % 7 {
                cost.add("words", 1).expect("there is such a limit");
                if sender.send(data("word")).await.is_err() {
                    return;
                }
            }
            if number % 10 == 1 {
                let _ = sender.send(Err(io::Error::other("no more words"))).await;
            }
        });
        Ok::<_, Infallible>(http::Response::new(Channel(frames)))
    });
    let stream = |number: u64| {
        let service = layer.layer(service);
        tokio::spawn(async move {
            let request = Request::get(format!("/{number}")).body(axum::body::Body::empty());
            let response = service.oneshot(request.expect("is valid")).await.expect("infallible");
            let mut body = response.into_body();
            if number.is_multiple_of(10) {
                drop(body.frame().await);
            } else {
                while let Some(Ok(_)) = body.frame().await {}
            }
        })
    };
    for stream in (0..STREAMS).map(stream).collect::<Vec<_>>() {
        stream.await?;
    }
    layer.settled().await;
    let spent = 1_000_000 - words.peek(&RequestKey::from("all")).await?.remaining;
    let told = |number: u64| number % 7 + 1;
    let most: u64 = (0..STREAMS).map(told).sum();
    let hung_up: u64 = (0..STREAMS).step_by(10).map(told).sum();
    // A stream that was left has told one word at least.
    let least = most - hung_up + STREAMS / 10;
    assert!((least..=most).contains(&spent), "{least} <= {spent} <= {most}");
    Ok(())
}

#[tokio::test]
async fn of_a_thousand_streams_nothing_is_left_reserved() -> Outcome {
    assert_exact(Memory::new()).await?;
    assert_exact(Far(store().0)).await
}

#[tokio::test]
async fn a_layer_without_anything_to_settle_is_settled() {
    let streams = Streams::new(&Memory::new());
    let mut settled = Box::pin(streams.layer.settled());
    let context = &mut Context::from_waker(std::task::Waker::noop());
    assert!(settled.as_mut().poll(context).is_ready());
}
