//! Keys that take time to find, and are given so much of it.

use std::{
    future::{pending, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::body::Body;
use http::{Request, request::Parts};
use ratelimit_algorithms::{FixedWindow, Limiter, Timer};
use ratelimit_http::{
    ApiKey, Awaited, KeyError, KeyFn, PeerAddr, RateLimitLayer, RequestKey, RequestLimit,
};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{
    Far, app, from, header, per_minute, poll, send, status, store, text, with_key,
};

/// A timer by which no time passes, or all of it at once.
#[derive(Clone, Copy)]
enum Bell {
    Silent,
    Rings,
}

impl Timer for Bell {
    fn now(&self) -> Instant {
        Instant::now()
    }

    async fn sleep_until(&self, _: Instant) {
        if matches!(self, Self::Silent) {
            pending::<()>().await;
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// The user whose session this is, which somebody else knows.
async fn user_of(session: Option<String>) -> Result<String, KeyError> {
    tokio::task::yield_now().await;
    match session.ok_or(KeyError::Missing)?.as_str() {
        "s1" | "s2" => Ok("alice".to_owned()),
        "panics" => panic!("unlucky"),
        "fails" => Err(KeyError::failed("no connection")),
        "hangs" => pending().await,
        other => Ok(other.to_owned()),
    }
}

fn session(request: &Parts) -> Option<String> {
    let session = request.headers.get("x-api-key")?;
    session.to_str().ok().map(str::to_owned)
}

macro_rules! users {
    ($bell:expr) => {
        Awaited::with_timeout(SECOND, $bell, |request: &Parts| user_of(session(request)))
    };
}

#[tokio::test]
async fn a_key_that_was_awaited_counts_like_any_other() {
    let app = app(per_minute(2, users!(Bell::Silent)));
    for (session, expected) in [("s1", 200), ("s2", 200), ("s1", 429), ("bob", 200)] {
        assert_eq!(status(&app, with_key(session)).await, expected, "{session}");
    }
    assert_eq!(status(&app, from("192.0.2.1:1")).await, 400, "it names no session");
}

// FAULTS 87.
#[tokio::test]
async fn a_key_function_that_takes_too_long_is_cut_and_nothing_is_charged() {
    let app = app(per_minute(1, users!(Bell::Rings)));
    for _ in 0..3 {
        let response = send(&app, with_key("hangs")).await;
        assert_eq!(response.status(), 503);
        assert_eq!(header(&response, "retry-after"), Some("1"));
        assert_eq!(text(response).await, r#"{"error":"service unavailable"}"#);
    }
}

// FAULTS 87.
#[tokio::test]
async fn a_key_that_fails_or_panics_while_it_is_awaited_harms_one_request() {
    let app = app(per_minute(1, users!(Bell::Silent)));
    for unlucky in ["panics", "fails", "panics"] {
        assert_eq!(status(&app, with_key(unlucky)).await, 500, "{unlucky}");
    }
    assert_eq!(status(&app, with_key("s1")).await, 200);
    let at_once = Awaited::with_timeout(SECOND, Bell::Silent, |_: &Parts| {
        if true {
            panic!("unlucky")
        }
        ready(Ok::<&str, KeyError>("nobody"))
    });
    let app = crate::support::app(per_minute(1, at_once));
    assert_eq!(status(&app, with_key("s1")).await, 500);
}

#[tokio::test]
async fn a_key_can_be_awaited_beside_one_that_is_there_and_on_a_store_that_is_awaited_too() {
    let store = Far(store().0);
    let per = |name, limit| {
        Limiter::new(store.clone(), name, FixedWindow::per_minute(limit)).expect("is valid")
    };
    let layer = RateLimitLayer::new(per("peer", 9), PeerAddr);
    let app = app(layer.also(RequestLimit::new(per("user", 1), users!(Bell::Silent))));
    let from_session = |session| {
        let mut request = from("192.0.2.1:1");
        request.headers_mut().insert("x-api-key", http::HeaderValue::from_static(session));
        request
    };
    for (session, expected) in [("s1", 200), ("s2", 429), ("bob", 200)] {
        assert_eq!(status(&app, from_session(session)).await, expected);
    }
}

#[tokio::test]
async fn another_key_can_be_asked_within() {
    let known = ApiKey::header("x-api-key");
    let client = Awaited::with_timeout(SECOND, Bell::Silent, move |request: &Parts| {
        let fallback = known.key(request).or(Ok("nobody".into()));
        let session = session(request);
        async move {
            match user_of(session).await {
                Ok(user) => Ok(RequestKey::from(user)),
                Err(KeyError::Missing) => fallback,
                Err(error) => Err(error),
            }
        }
    });
    let app = app(per_minute(1, client));
    assert_eq!(status(&app, from("192.0.2.1:1")).await, 200);
    assert_eq!(status(&app, from("192.0.2.2:1")).await, 429);
}

// FAULTS 125.
#[tokio::test]
async fn a_client_that_goes_away_while_its_key_is_looked_for_is_not_served() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let service = service_fn(move |_: Request<Body>| {
        counted.fetch_add(1, Ordering::Relaxed);
        ready(Ok::<_, std::convert::Infallible>(http::Response::new(Body::empty())))
    });
    let layer = per_minute(1, users!(Bell::Silent));
    let mut response = Box::pin(layer.layer(service.clone()).oneshot(with_key("hangs")));
    for _ in 0..3 {
        assert!(poll(&mut response).is_pending());
    }
    drop(response);
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    let response = layer.layer(service).oneshot(with_key("hangs2")).await;
    assert_eq!(response.expect("is infallible").status(), 200, "nothing was charged");
}
