//! An app behind a layer, by axum and by actix-web, and what both answer.

use std::{net::SocketAddr, num::NonZeroUsize};

use actix_web::{
    App, HttpResponse,
    body::to_bytes,
    http::header::{HeaderName, HeaderValue},
    test, web,
};
use axum::{Router, body::Body, routing::any};
use http_body_util::BodyExt;
use ratelimit_actix::RateLimit;
use ratelimit_algorithms::{Decision, FixedWindow, Limiter, ManualClock};
use ratelimit_http::{ApiKey, KeyFn, Or, Peer, PeerAddr, RateLimitLayer};
use ratelimit_memory::Memory;
use tower::ServiceExt;

pub(crate) type Store = Memory<ManualClock>;
pub(crate) type Layer = RateLimitLayer<Store, Or<ApiKey, PeerAddr>>;

/// A method, a path, an address and lines of headers.
pub(crate) struct TestCall {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) peer: Option<&'static str>,
    pub(crate) headers: &'static [(&'static str, &'static str)],
}

/// A status, the lines that a layer has a say in, and a body.
pub(crate) type TestResponse = (u16, Vec<(String, String)>, String);

pub(crate) fn store() -> Store {
    Memory::with_clock(ManualClock::default(), NonZeroUsize::MIN.saturating_add(99))
}

pub(crate) fn limiter(store: Store, name: &str, limit: u64) -> Limiter<Store> {
    Limiter::new(store, name, FixedWindow::per_minute(limit)).unwrap()
}

pub(crate) fn client() -> Or<ApiKey, PeerAddr> {
    ApiKey::header("x-api-key").or(PeerAddr)
}

/// Two requests a minute and client.
pub(crate) fn layer() -> Layer {
    RateLimitLayer::new(limiter(store(), "api", 2), client())
}

/// The app's answer to requests that reach it.
fn greeting(remaining: Option<u64>) -> String {
    format!("hello, {remaining:?} left")
}

/// Headers that the app sets on `/strict`, as if it had a limit of its own.
const STRICT: [(&str, &str); 4] = [
    ("x-ratelimit-limit", "9"),
    ("x-ratelimit-remaining", "0"),
    ("x-ratelimit-reset", "1234"),
    ("ratelimit", "\"own\";r=0;t=1234"),
];

pub(crate) async fn by_axum(layer: Layer, questions: &[TestCall]) -> Vec<TestResponse> {
    async fn hello(request: axum::extract::Request) -> String {
        greeting(request.extensions().get::<Decision>().map(|decision| decision.remaining))
    }
    let strict = async || {
        let mut response = axum::response::Response::new(Body::from("strict"));
        for (name, value) in STRICT {
            response.headers_mut().append(name, value.parse().unwrap());
        }
        response
    };
    let app = Router::new().route("/", any(hello)).route("/strict", any(strict)).layer(layer);
    let mut answers = Vec::new();
    for question in questions {
        let mut request = http::Request::builder().method(question.method).uri(question.path);
        for (name, value) in question.headers {
            request = request.header(*name, *value);
        }
        if let Some(peer) = question.peer {
            request = request.extension(Peer(peer.parse().unwrap()));
        }
        let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let lines = head.headers.iter();
        let lines = lines.map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
        let lines = told(lines, head.status.as_u16());
        answers.push((
            head.status.as_u16(),
            lines,
            text(&body.collect().await.unwrap().to_bytes()),
        ));
    }
    answers
}

pub(crate) async fn by_actix(layer: Layer, questions: &[TestCall]) -> Vec<TestResponse> {
    let hello = async |decision: Option<web::ReqData<Decision>>| {
        greeting(decision.map(|decision| decision.remaining))
    };
    let strict = async || {
        let mut response = HttpResponse::Ok();
        for line in STRICT {
            response.append_header(line);
        }
        response.body("strict")
    };
    let app = App::new()
        .route("/", web::route().to(hello))
        .route("/strict", web::route().to(strict))
        .wrap(RateLimit::new(layer));
    let app = test::init_service(app).await;
    let mut answers = Vec::new();
    for question in questions {
        let mut request =
            test::TestRequest::with_uri(question.path).method(question.method.parse().unwrap());
        for (name, value) in question.headers {
            let name = HeaderName::from_static(name);
            request = request.append_header((name, HeaderValue::from_static(value)));
        }
        if let Some(peer) = question.peer {
            request = request.peer_addr(peer.parse::<SocketAddr>().unwrap());
        }
        let response = test::call_service(&app, request.to_request()).await;
        let status = response.status().as_u16();
        let lines = response.headers().iter();
        let lines = lines.map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
        let lines = told(lines, status);
        let body = to_bytes(response.into_body()).await.ok().unwrap();
        answers.push((status, lines, text(&body)));
    }
    answers
}

/// The lines in one order, without those that a server sets.
fn told<'a>(lines: impl Iterator<Item = (&'a str, &'a str)>, status: u16) -> Vec<(String, String)> {
    let is_told = |name: &str| {
        name.contains("ratelimit") || name == "retry-after" || status != 200 && name != "date"
    };
    let lines = lines.filter(|(name, _)| is_told(name));
    let mut lines: Vec<_> = lines.map(|(name, value)| (name.into(), value.into())).collect();
    // Lines of one name keep their order.
    lines.sort_by(|(one, _): &(String, _), (other, _)| one.cmp(other));
    lines
}

fn text(body: &[u8]) -> String {
    String::from_utf8(body.into()).unwrap()
}
