//! Likely mistakes about a layer are said, and once.

use std::sync::{Arc, Mutex};

use axum::{Router, body::Body, routing::get};
use http::Request;
use ratelimit_algorithms::{Backend, FixedWindow, Limiter, Policies};
use ratelimit_backend::{Names, Reply};
use ratelimit_conformance::subprocess;
use ratelimit_core::{Action, Batch};
use ratelimit_http::{
    ApiKey, ClientIp, ClientIpBuilder, KeyFn, MethodName, PeerAddr, RateLimitLayer, RequestKey,
    RequestLimit, Warning,
};
use ratelimit_resilience::Lists;

use crate::support::{Store, app, from, limiter, per_minute, request, send, status, store};

type Heard = Arc<Mutex<Vec<Warning>>>;

/// The layer, and what it says.
fn heard<B, K, P>(layer: RateLimitLayer<B, K, P>) -> (RateLimitLayer<B, K, P>, Heard)
where
    B: Backend + Clone,
    K: KeyFn + Clone,
    P: Policies + Clone,
{
    let heard = Heard::default();
    let hear = Arc::clone(&heard);
    let hear = move |warning: &Warning| hear.lock().expect("it is whole").push(warning.clone());
    (layer.on_warning(hear), heard)
}

/// The warnings of a layer with this key after some requests.
async fn said(key: impl KeyFn + Clone + 'static, request: fn() -> Request<Body>) -> Vec<Warning> {
    let (layer, heard) = heard(per_minute(5, key));
    let app = app(layer);
    for _ in 0..10 {
        send(&app, request()).await;
    }
    let heard = heard.lock().expect("it is whole");
    heard.clone()
}

fn plain() -> Request<Body> {
    from("192.0.2.1:1")
}

fn forwarded() -> Request<Body> {
    let mut request = plain();
    request.headers_mut().insert("x-forwarded-for", "192.0.2.9".parse().expect("it is text"));
    request
}

fn proxied(header: fn(ClientIpBuilder) -> ClientIpBuilder) -> ClientIp {
    let builder = header(ClientIp::builder()).trusted_proxies(["192.0.2.0/24"]);
    builder.build().expect("description is complete")
}

/// A store that other processes use as well.
#[derive(Clone)]
struct Shared(Store, Names);

impl Backend for Shared {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        self.0.apply(batch, action)
    }

    fn names(&self) -> &Names {
        &self.1
    }
}

// FAULTS 222.
#[tokio::test]
async fn a_weak_pepper_is_said_once() {
    let limit = FixedWindow::per_minute(100);
    for (names, pepper, expected) in [
        (Names::with_shared_store(), None, vec![Warning::RandomPepper]),
        (Names::with_shared_store(), Some("0123456789abcdef"), vec![]),
        (Names::with_shared_store(), Some("0123456789abcde"), vec![Warning::ShortPepper]),
        (Names::default(), None, vec![]),
        (Names::default(), Some(""), vec![Warning::ShortPepper]),
    ] {
        let limiter = Limiter::new(Shared(store().0, names), "api", limit);
        let key = ApiKey::header("x-api-key");
        let key = match pepper {
            Some(pepper) => key.pepper(pepper),
            None => key,
        };
        let layer = RateLimitLayer::new(limiter.expect("algorithm is valid"), key.or(PeerAddr));
        let (layer, heard) = heard(layer);
        let app = app(layer);
        for _ in 0..3 {
            send(&app, plain()).await;
        }
        assert_eq!(*heard.lock().expect("it is whole"), expected);
    }
}

// FAULTS 221.
#[tokio::test]
async fn lists_of_texts_are_said_once_since_no_request_has_such_a_key() {
    let warning = Warning::TextListed { limiter: "api".to_owned() };
    let mallory = RequestKey::text("mallory");
    for (list, expected) in [
        (&(|_: &Lists<Store>| ()) as &dyn Fn(&Lists<Store>), vec![]),
        (&|lists| lists.everywhere().deny("mallory"), vec![warning.clone()]),
        (&|lists| lists.under("api").allow("192.0.2.1"), vec![warning]),
        (&|lists| lists.under("jobs").deny("mallory"), vec![]),
        (&|lists| lists.under("api").deny(&mallory), vec![]),
        (
            &|lists| {
                lists.everywhere().deny("job");
                lists.under("api").deny(&mallory);
            },
            vec![],
        ),
    ] {
        let lists = Lists::new(store().0);
        list(&lists);
        let limiter = Limiter::new(Arc::new(lists), "api", FixedWindow::per_minute(9));
        let (layer, heard) = heard(RateLimitLayer::new(limiter.expect("is valid"), PeerAddr));
        let app = app(layer);
        for _ in 0..3 {
            assert_eq!(status(&app, plain()).await, 200);
        }
        assert_eq!(*heard.lock().expect("it is whole"), expected);
    }
}

#[tokio::test]
async fn nothing_is_said_of_what_is_well() {
    assert_eq!(said(PeerAddr, plain).await, []);
    assert_eq!(said(proxied(ClientIpBuilder::x_forwarded_for), forwarded).await, []);
    assert_eq!(said(ApiKey::header("x-api-key").or("nobody"), forwarded).await, []);
}

#[tokio::test]
async fn a_header_that_is_not_read_is_said_once() {
    let unread = [Warning::UnreadHeader { name: "x-forwarded-for" }];
    assert_eq!(said(PeerAddr, forwarded).await, unread);
    assert_eq!(said(ClientIp::peer(), forwarded).await, unread);
    assert_eq!(said(MethodName.and("a").and(PeerAddr), forwarded).await, unread);
    assert_eq!(said(ApiKey::header("x-api-key").or(PeerAddr), forwarded).await, unread);
    assert_eq!(said(proxied(ClientIpBuilder::forwarded), forwarded).await, unread);
}

#[tokio::test]
async fn whom_a_description_believes_and_tells_apart_is_said_once() {
    let everybody = ClientIp::builder().x_forwarded_for().dangerously_trust_everybody();
    let everybody = everybody.build().expect("description is complete");
    assert_eq!(said(everybody, forwarded).await, [Warning::TrustsEverybody]);
    let exact = ClientIp::builder().ipv6_prefix(128).build().expect("description is complete");
    assert_eq!(said(exact, plain).await, [Warning::WideIpv6Prefix { bits: 128 }]);
    let site = ClientIp::builder().ipv6_prefix(48).build().expect("description is complete");
    assert_eq!(said(site, plain).await, []);
}

#[tokio::test]
async fn a_cost_that_is_never_admitted_is_said_once() {
    let (layer, heard) = heard(per_minute(5, PeerAddr).cost(6));
    let app = app(layer);
    for _ in 0..3 {
        assert_eq!(status(&app, plain()).await, 429);
    }
    let limiter = "api".to_owned();
    let warning = Warning::UnreachableCost { limiter, cost: 6, limit: 5 };
    assert_eq!(*heard.lock().expect("it is whole"), [warning]);
}

#[tokio::test]
async fn a_limiter_that_charges_a_request_twice_is_said_once() {
    let (layer, heard) = heard(per_minute(10, PeerAddr));
    let inner = get(|| async {}).layer(layer.clone().cost(2));
    let app = Router::new().route("/", inner).layer(layer);
    for _ in 0..3 {
        assert_eq!(status(&app, plain()).await, 200);
    }
    let warning = Warning::AppliedTwice { limiter: "api".to_owned() };
    assert_eq!(*heard.lock().expect("it is whole"), [warning]);
}

#[tokio::test]
async fn each_of_several_limits_is_looked_at() {
    let store = store().0;
    let per = |name, limit| Limiter::new(store.clone(), name, FixedWindow::per_hour(limit));
    let shared = per("shared", 9).expect("is valid");
    let outer = RateLimitLayer::new(shared.clone(), PeerAddr);
    let inner = RateLimitLayer::new(per("inner", 9).expect("is valid"), PeerAddr);
    let inner = inner
        .also(RequestLimit::new(shared, PeerAddr))
        .also(RequestLimit::new(per("dear", 5).expect("is valid"), "all").cost(6));
    let (inner, heard) = heard(inner);
    assert_eq!(status(&app(inner).layer(outer), plain()).await, 429);
    let dear = Warning::UnreachableCost { limiter: "dear".to_owned(), cost: 6, limit: 5 };
    let twice = Warning::AppliedTwice { limiter: "shared".to_owned() };
    assert_eq!(*heard.lock().expect("it is whole"), [dear, twice]);
}

#[tokio::test]
async fn a_limiter_may_count_a_request_under_two_keys_and_two_limiters_under_one() {
    let (first, heard) = heard(RateLimitLayer::new(limiter(FixedWindow::per_hour(9)), PeerAddr));
    let limiter = limiter(FixedWindow::per_hour(9));
    let by_peer = RateLimitLayer::new(limiter.clone(), PeerAddr);
    let by_method = RateLimitLayer::new(limiter, MethodName);
    let app = app(first).layer(by_peer).layer(by_method);
    assert_eq!(status(&app, plain()).await, 200);
    assert_eq!(*heard.lock().expect("it is whole"), []);
}

// FAULTS 79.
#[tokio::test]
async fn requests_from_nowhere_are_said_once_and_at_any_time() {
    let (layer, heard) = heard(per_minute(10, PeerAddr));
    let app = app(layer);
    for _ in 0..1_001 {
        send(&app, plain()).await;
    }
    for _ in 0..3 {
        let nowhere = request().body(Body::empty()).expect("request is valid");
        assert_eq!(status(&app, nowhere).await, 500);
    }
    assert_eq!(*heard.lock().expect("it is whole"), [Warning::NoPeer]);
}

#[tokio::test]
async fn only_the_first_thousand_requests_are_looked_at() {
    let (layer, heard) = heard(per_minute(10, PeerAddr));
    let app = app(layer);
    for _ in 0..1_000 {
        send(&app, plain()).await;
    }
    send(&app, forwarded()).await;
    assert_eq!(*heard.lock().expect("it is whole"), []);
}

/// Without a hook and without a log, in a process of its own.
#[test]
fn who_has_set_up_nothing_is_told_on_standard_error() {
    if std::env::var_os(CHILD).is_some() {
        let app = app(per_minute(10, PeerAddr));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("it builds");
        runtime.block_on(async {
            send(&app, forwarded()).await;
            send(&app, forwarded()).await;
        });
        return;
    }
    let name = "who_has_set_up_nothing_is_told_on_standard_error";
    let child = subprocess(module_path!(), name).env(CHILD, "").output().expect("it runs again");
    let said = String::from_utf8_lossy(&child.stderr);
    let lines: Vec<_> = said.lines().filter(|line| line.starts_with("ratelimit-http: ")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    assert!(lines[0].contains("x-forwarded-for") && !lines[0].contains("192.0.2.9"), "{said}");
}

const CHILD: &str = "RATELIMIT_HTTP_WARNINGS_CHILD";
