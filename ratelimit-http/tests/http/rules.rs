//! The cost of a request, the limits that it has to pass, and requests that pass none.

use axum::body::Body;
use http::{Request, request::Parts};
use ratelimit_algorithms::{FixedWindow, Limiter};
use ratelimit_backend::Backend;
use ratelimit_http::{
    ApiKey, ClientIp, ClientIpError, HeaderFormat, KeyError, KeyFn, PeerAddr, RateLimitLayer,
    RequestLimit,
};

use crate::support::{
    Far, Store, app, budget, from, header, per_minute, send, status, store, text,
};

fn per<B: Backend + Clone>(store: &B, name: &str, limit: u64) -> Limiter<B> {
    Limiter::new(store.clone(), name, FixedWindow::per_minute(limit)).expect("is valid")
}

fn size(request: &Parts) -> Option<u64> {
    request.headers.get("x-size")?.to_str().ok()?.parse().ok()
}

// FAULTS 23, 130.
#[tokio::test]
async fn a_cost_that_a_request_tells_is_charged_or_refused() {
    let app = app(per_minute(10, PeerAddr).cost_by(size));
    let sized = |size: &str| {
        let mut request = from("192.0.2.1:1");
        request.headers_mut().insert("x-size", size.parse().expect("value is valid"));
        request
    };
    for senseless in ["-1", "1e9", "", "0x1", "1.5", "18446744073709551616"] {
        assert_eq!(status(&app, sized(senseless)).await, 400, "{senseless:?}");
    }
    assert_eq!(status(&app, from("192.0.2.1:1")).await, 400, "it does not say");
    assert_eq!(status(&app, sized("0")).await, 400);
    let beyond = send(&app, sized("11")).await;
    assert_eq!((beyond.status().as_u16(), header(&beyond, "retry-after")), (429, None));
    assert_eq!(budget(&send(&app, sized("7")).await)[1], Some("3"), "nothing was charged before");
    assert_eq!(status(&app, sized("4")).await, 429);
    assert_eq!(status(&app, sized("3")).await, 200);
}

fn layered(store: &Store) -> RateLimitLayer<Store, PeerAddr> {
    let key = ApiKey::header("x-api-key").or("nobody");
    RateLimitLayer::new(per(store, "burst", 3), PeerAddr)
        .also(RequestLimit::new(per(store, "daily", 10), key).cost(4))
}

// FAULTS 46, 118.
#[tokio::test]
async fn several_limits_are_charged_together_or_not_at_all() {
    let (store, _) = store();
    let app = app(layered(&store).problem_details().headers([HeaderFormat::Draft10]));
    let told = |response: &axum::response::Response| {
        let lines = response.headers().get_all("ratelimit").iter();
        lines.map(|line| line.to_str().expect("is text").to_owned()).collect::<Vec<_>>().join(", ")
    };
    for (burst, daily) in [(2, 6), (1, 2)] {
        let response = send(&app, from("192.0.2.1:1")).await;
        assert_eq!(response.status(), 200);
        let expected = format!(r#""burst";r={burst};t=60, "daily";r={daily};t=60"#);
        assert_eq!(told(&response), expected);
    }
    for _ in 0..3 {
        let denied = send(&app, from("192.0.2.1:1")).await;
        assert_eq!(denied.status(), 429);
        assert_eq!(told(&denied), r#""burst";r=1;t=60, "daily";r=2;t=60"#, "uncharged");
        assert!(text(denied).await.contains(r#""violated-policies":["daily"]"#));
    }
    let other = Request::get("/").header("x-api-key", "k1");
    let peer = ratelimit_http::Peer("192.0.2.1:1".parse().expect("peer is an address"));
    let other = other.extension(peer).body(Body::empty()).expect("request is valid");
    assert_eq!(status(&app, other).await, 200, "its own budget of the second limit");
}

#[tokio::test]
async fn the_limit_that_bound_is_told_where_there_is_room_for_one() {
    let (store, _) = store();
    let app = app(layered(&store));
    let response = send(&app, from("192.0.2.1:1")).await;
    assert_eq!(budget(&response), [Some("3"), Some("2"), Some("60")], "the least remaining");
    assert_eq!(status(&app, from("192.0.2.1:1")).await, 200);
    let denied = send(&app, from("192.0.2.1:1")).await;
    assert_eq!(budget(&denied), [Some("10"), Some("2"), Some("60")], "what denied");
}

#[tokio::test]
async fn a_request_without_one_of_the_keys_is_charged_to_none() {
    let (store, _) = store();
    let keyless = |_: &Parts| Err::<&str, _>(KeyError::Missing);
    let both = RateLimitLayer::new(per(&store, "burst", 1), PeerAddr);
    let both = app(both.also(RequestLimit::new(per(&store, "daily", 1), keyless)));
    assert_eq!(status(&both, from("192.0.2.1:1")).await, 400);
    let one = app(RateLimitLayer::new(per(&store, "burst", 1), PeerAddr));
    assert_eq!(status(&one, from("192.0.2.1:1")).await, 200);
}

#[tokio::test]
async fn limits_on_different_stores_are_the_servers_fault() {
    let (here, there) = (store().0, store().0);
    let layer = RateLimitLayer::new(per(&here, "a", 1), PeerAddr);
    let app = app(layer.also(RequestLimit::new(per(&there, "b", 1), PeerAddr)));
    assert_eq!(status(&app, from("192.0.2.1:1")).await, 500);
}

#[tokio::test]
async fn what_is_skipped_is_neither_counted_nor_told() {
    let layer = per_minute(1, PeerAddr)
        .skip(|request| request.headers.contains_key("x-probe"))
        .skip(|request| request.uri.path() == "/health");
    let plain = || axum::Router::new().fallback(async || "hello");
    let app = plain().layer(layer);
    let with = |path: &str, probe: bool| {
        let mut request = from("192.0.2.1:1");
        *request.uri_mut() = path.parse().expect("uri is valid");
        if probe {
            request.headers_mut().insert("x-probe", 1.into());
        }
        request
    };
    for request in [with("/health", false), with("/", true), with("/health", true)] {
        let response = send(&app, request).await;
        assert_eq!((response.status().as_u16(), budget(&response)), (200, [None; 3]));
    }
    assert_eq!(status(&app, with("/", false)).await, 200, "nothing was charged");
    assert_eq!(status(&app, with("/", false)).await, 429);
    assert_eq!(status(&app, with("/health", false)).await, 200);
}

#[tokio::test]
async fn networks_can_be_let_pass() -> Result<(), ClientIpError> {
    let layer = per_minute(1, "everyone");
    let none = layer.clone().skip_networks(ClientIp::peer(), ["0.0.0.0/0"]);
    assert!(matches!(none, Err(ClientIpError::TrustsEverybody)));
    let layer = layer.skip_networks(ClientIp::peer(), ["10.0.0.0/8", "2001:db8::/32"])?;
    let app = axum::Router::new().fallback(async || "hello").layer(layer);
    for _ in 0..3 {
        for friend in ["10.1.2.3:1", "[::ffff:10.0.0.1]:1", "[2001:db8::9]:1"] {
            assert_eq!(status(&app, from(friend)).await, 200);
        }
    }
    assert_eq!(status(&app, from("192.0.2.1:1")).await, 200);
    assert_eq!(status(&app, from("192.0.2.2:1")).await, 429);
    Ok(())
}

#[tokio::test]
async fn a_store_that_has_to_be_awaited_is_asked_once() {
    let far = Far(store().0);
    let one = app(RateLimitLayer::new(per(&far, "one", 2), PeerAddr));
    let both = RateLimitLayer::new(per(&far, "a", 3), PeerAddr);
    let both = app(both.also(RequestLimit::new(per(&far, "b", 2), "everyone")));
    for app in [one, both] {
        let left = |response| budget(&response)[1].map(str::to_owned);
        for expected in ["1", "0", "0"] {
            let response = send(&app, from("192.0.2.1:1")).await;
            assert_eq!(left(response).as_deref(), Some(expected));
        }
        assert_eq!(status(&app, from("192.0.2.1:1")).await, 429);
    }
    let limiter = Limiter::new(far.0, "a", FixedWindow::per_minute(3)).expect("is the same");
    let request = from("192.0.2.1:1").into_parts().0;
    let key = PeerAddr.key(&request).expect("peer is known");
    assert_eq!(
        limiter.peek(&key).now().expect("memory answers").remaining,
        1,
        "denials charge nothing"
    );
}
