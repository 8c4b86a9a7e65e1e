//! Several limits of one layer, each with its own cost, tier, settlement and rule for a missing key.

use axum::body::Body;
use http::{Request, Response, request::Parts};
use ratelimit_algorithms::{Backend, FixedWindow, Limiter, Policies, Tier, Tiers};
use ratelimit_http::{
    ApiKey, HeaderFormat, KeyError, PeerAddr, RateLimitLayer, RequestKey, RequestLimit, cost_header,
};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{Far, app, from, header, send, status, store, with_key};

fn per_hour<B: Backend>(store: B, name: &str, limit: u64) -> Limiter<B> {
    Limiter::new(store, name, FixedWindow::per_hour(limit)).expect("numbers are fine")
}

async fn left<B: Backend, P: Policies>(limiter: &Limiter<B, P>, key: &str) -> u64 {
    limiter.peek(&RequestKey::from(key)).await.expect("the store answers").remaining
}

/// The number in the header `x-tokens`.
fn tokens(request: &Parts) -> Option<u64> {
    request.headers.get("x-tokens")?.to_str().ok()?.parse().ok()
}

fn asking(tokens: &str) -> Request<Body> {
    let request = Request::get("/").header("x-tokens", tokens);
    request.body(Body::empty()).expect("request is valid")
}

#[tokio::test]
async fn each_limit_charges_its_own_cost_of_the_request() {
    let store = store().0;
    let (calls, words) = (per_hour(store.clone(), "calls", 5), per_hour(store, "words", 100));
    let limit = RequestLimit::new(words.clone(), "all").cost_by(tokens);
    let app = app(RateLimitLayer::new(calls.clone(), "all").also(limit));
    assert_eq!(status(&app, asking("70")).await, 200);
    assert_eq!(status(&app, asking("31")).await, 429);
    assert_eq!(status(&app, asking("30")).await, 200);
    assert_eq!([left(&calls, "all").await, left(&words, "all").await], [3, 0]);
    for (unclear, expected) in [("", 400), ("many", 400), ("0", 400), ("101", 429)] {
        assert_eq!(status(&app, asking(unclear)).await, expected, "{unclear:?}");
    }
    assert_eq!(left(&calls, "all").await, 3, "and nothing is charged");
}

#[tokio::test]
async fn each_limit_is_settled_for_its_own_cost_of_the_response() {
    let store = store().0;
    for far in [false, true] {
        if far {
            settle_each(Far(store.clone()), ["far-calls", "far-words", "far-bytes"]).await;
        } else {
            settle_each(store.clone(), ["calls", "words", "bytes"]).await;
        }
    }
}

async fn settle_each<B: Backend + Clone + 'static>(store: B, names: [&str; 3]) {
    let [calls, words, bytes] = names.map(|name| per_hour(store.clone(), name, 100));
    let layer = RateLimitLayer::new(calls.clone(), "all")
        .also(RequestLimit::new(words.clone(), "all").cost(60).settle_by(cost_header("x-words")))
        .also(RequestLimit::new(bytes.clone(), "all").cost(10).settle_by(cost_header("x-bytes")));
    let service = service_fn(async |_: Request<Body>| {
        let response = Response::builder().header("x-words", "7").header("x-bytes", "25");
        Ok::<_, std::convert::Infallible>(response.body(Body::empty()).expect("is valid"))
    });
    let response = layer.layer(service).oneshot(from("192.0.2.1:1")).await;
    assert_eq!(response.expect("is infallible").status(), 200);
    let all = [&calls, &words, &bytes].map(|limiter| left(limiter, "all"));
    let mut found = Vec::new();
    for one in all {
        found.push(one.await);
    }
    assert_eq!(found, [99, 93, 75]);
}

#[tokio::test]
async fn a_further_limit_has_tiers_of_its_own() {
    let store = store().0;
    let tiers = Tiers::new("team", FixedWindow::per_hour(1)).expect("numbers are fine");
    let pro = tiers.add("pro", FixedWindow::per_hour(3)).expect("numbers are fine");
    let team = Limiter::with_policies(store.clone(), tiers.in_tier(Tier::DEFAULT));
    let team = RequestLimit::new(team.expect("the name is free"), "team").tier_by(move |request| {
        if request.headers.contains_key("x-pro") { pro } else { Tier::DEFAULT }
    });
    let layer = RateLimitLayer::new(per_hour(store, "calls", 100), PeerAddr).also(team);
    let app = app(layer.headers([HeaderFormat::Draft10]));
    let pro = || {
        let mut request = from("192.0.2.1:1");
        request.headers_mut().insert("x-pro", "1".parse().expect("is valid"));
        request
    };
    assert_eq!(status(&app, from("192.0.2.1:1")).await, 200);
    assert_eq!(status(&app, from("192.0.2.1:1")).await, 429);
    let response = send(&app, pro()).await;
    let policies = response.headers().get_all("ratelimit-policy").iter();
    let policies: Vec<_> = policies.map(|value| value.to_str().expect("is text")).collect();
    assert_eq!(policies, [r#""calls";q=100;w=3600"#, r#""team";q=3;w=3600"#]);
    assert_eq!(status(&app, pro()).await, 200);
    assert_eq!(status(&app, pro()).await, 429);
}

#[tokio::test]
async fn requests_without_a_key_pass_a_limit_only_if_it_is_optional() {
    let store = store().0;
    let calls = || RateLimitLayer::new(per_hour(store.clone(), "calls", 100), PeerAddr);
    let team =
        || RequestLimit::new(per_hour(store.clone(), "team", 1), ApiKey::header("x-api-key"));
    let all = || RequestLimit::new(per_hour(store.clone(), "all", 3), "everyone");
    let strict = app(calls().also(team()));
    assert_eq!(status(&strict, from("192.0.2.1:1")).await, 400);

    let app = app(calls().also(team().optional()).also(all()).headers([HeaderFormat::Draft10]));
    let response = send(&app, from("192.0.2.1:1")).await;
    assert_eq!(response.status(), 200);
    let policies = response.headers().get_all("ratelimit-policy").iter().count();
    assert_eq!(policies, 2, "of the limit that was passed nothing is told");
    let keyed = || {
        let mut request = with_key("k1");
        request.extensions_mut().insert(ratelimit_http::Peer("192.0.2.1:1".parse().expect("is")));
        request
    };
    assert_eq!(status(&app, keyed()).await, 200);
    let denied = send(&app, keyed()).await;
    assert_eq!(denied.status(), 429, "the team has one request");
    assert!(header(&denied, "retry-after").is_some());
    assert_eq!(status(&app, from("192.0.2.1:1")).await, 200);
    assert_eq!(status(&app, from("192.0.2.1:1")).await, 429, "the limits behind it hold");
}

#[tokio::test]
async fn a_key_that_cannot_be_read_passes_no_optional_limit() {
    let store = store().0;
    let unreadable = |_: &Parts| Err::<RequestKey, _>(KeyError::Malformed);
    let limit = RequestLimit::new(per_hour(store.clone(), "team", 1), unreadable).optional();
    let app = app(RateLimitLayer::new(per_hour(store, "calls", 9), PeerAddr).also(limit));
    assert_eq!(status(&app, from("192.0.2.1:1")).await, 400);
}

#[tokio::test]
async fn a_function_of_a_further_limit_that_panics_fails_one_request_and_charges_nothing() {
    let store = store().0;
    let calls = per_hour(store.clone(), "calls", 9);
    let unlucky =
        RequestLimit::new(per_hour(store, "team", 1), "all").cost_by(|_| panic!("unlucky"));
    let app = app(RateLimitLayer::new(calls.clone(), "all").also(unlucky));
    assert_eq!(status(&app, from("192.0.2.1:1")).await, 500);
    assert_eq!(left(&calls, "all").await, 9);
}
