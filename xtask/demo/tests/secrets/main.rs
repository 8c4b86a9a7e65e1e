//! Secrets pushed through every path of all crates together, and looked for in all that comes out.
//!
//! An API key, the pepper that it is hashed with and the password of the server go through HTTP,
//! limiters, metrics and stores, with and without faults. Looked through are logs and spans at
//! their finest, metrics, errors, `Debug` texts, headers and bodies, what Redis was told and keeps,
//! and the files of SQLite.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod captured_output;
mod recorded_server;

use std::{fmt::Debug, num::NonZeroUsize};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode, request::Builder},
    routing::get,
};
use ratelimit_algorithms::{Backend, Decision, Limiter, TokenBucket};
use ratelimit_http::{ApiKey, HeaderFormat, KeyFn, RateLimitLayer};
use ratelimit_memory::Memory;
use ratelimit_metrics::{MetricsFacade, Observed, Ranking, Statistics, TopKeys, TracingLog};
use ratelimit_redis::RedisSettings;
use ratelimit_resilience::{LocalLimits, OnFailure, Resilient};
use ratelimit_sqlite::Sqlite;
use tower::ServiceExt;

use crate::{captured_output::Said, recorded_server::Watched};

const API_KEY: &str = "canary-of-an-api-key";
const PEPPER: &str = "canary-of-the-pepper";
const PASSWORD: &str = "canary-of-the-password";

// FAULTS 193.
#[tokio::test]
async fn no_secret_is_found_in_anything_that_any_crate_says_or_keeps() {
    let said = Said::listen();
    let folder = tempfile::tempdir().unwrap();
    let sqlite = Sqlite::open(folder.path().join("limits.sqlite")).unwrap();
    through(&said, sqlite.clone()).await;
    through(&said, Memory::new()).await;
    through(&said, Resilient::new(Memory::new())).await;

    if let Some(mut server) = Watched::start(PASSWORD) {
        for credentials in [format!("{PASSWORD}:{PASSWORD}"), format!(":not-{PASSWORD}")] {
            let settings = settings(&server, &credentials);
            said.debug(&settings);
            said.error(&settings.connect().await.unwrap_err());
        }
        said.error(&RedisSettings::new(&format!("redi://:{PASSWORD}@127.0.0.1")).unwrap_err());

        let redis = settings(&server, &format!(":{PASSWORD}")).connect().await.unwrap();
        let local = OnFailure::Local(LocalLimits::new(Memory::new()));
        let resilient = Resilient::new(redis).with_fallback(local);
        through(&said, resilient.clone()).await;
        said.note("what the server was told and keeps", &server.told_and_kept());
        server.kill();
        through(&said, resilient.clone()).await;
        through(&said, resilient.breaker().get_ref().get_ref().clone()).await;
    }

    drop(sqlite);
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let path = file.unwrap().path();
        said.note(&path.display().to_string(), &std::fs::read(&path).unwrap());
    }
    for sign in ["api_requests", "ratelimit_decisions_total", "x-ratelimit-limit", "limits.sqlite"]
    {
        assert!(said.has(sign), "{sign} is a sign that this looks where it should");
    }
    for secret in [API_KEY, PEPPER, PASSWORD] {
        said.never(secret);
    }
}

fn settings(server: &Watched, credentials: &str) -> RedisSettings {
    RedisSettings::new(&format!("redis://{credentials}@127.0.0.1:{}", server.port())).unwrap()
}

/// Requests of all outcomes, through everything that there is around a store.
async fn through<B: Backend + Clone + Debug + 'static>(said: &Said, store: B) {
    let ten = NonZeroUsize::new(10).unwrap();
    let recorders = (
        Statistics::new(),
        (
            TopKeys::new(Ranking::Denials, ten).with_pepper(PEPPER),
            TracingLog::new(),
            MetricsFacade::new(),
        ),
    );
    let store = Observed::new(store, recorders);
    let limiter = Limiter::new(store.clone(), "api_requests", TokenBucket::per_hour(2)).unwrap();
    let finders = [ApiKey::header("x-api-key"), ApiKey::bearer(), ApiKey::cookie("session")];
    for finder in finders.map(|finder| finder.pepper(PEPPER)) {
        let layer = RateLimitLayer::new(limiter.clone(), finder.clone())
            .headers([HeaderFormat::XRateLimit, HeaderFormat::Draft6, HeaderFormat::Draft10])
            .problem_details();
        said.debug(&(&layer, &finder));
        let app = Router::new().route("/", get(shown).layer(layer));
        for request in requests() {
            let response = app.clone().oneshot(request).await.unwrap();
            said.debug(&(response.status(), response.headers()));
            said.note("a body", &to_bytes(response.into_body(), 10_000).await.unwrap());
        }
    }
    let head = places()[0](Request::get("/")).body(()).unwrap().into_parts().0;
    let key = ApiKey::header("x-api-key").pepper(PEPPER).key(&head).unwrap();
    for cost in [1, 3] {
        match limiter.check(&key).cost(cost).await {
            Ok(decision) => said.debug(&(&key, decision)),
            Err(error) => said.error(&error),
        }
    }
    let (statistics, (top, ..)) = store.recorder();
    said.debug(&(&store, &limiter, statistics.snapshot(), top.top(10), store.recorder()));
    said.note("metrics", statistics.snapshot().to_prometheus().as_bytes());
}

/// The credential in each of its places, three times; and twice in one.
fn requests() -> Vec<Request<Body>> {
    let twice: Place = |request| request.header("x-api-key", API_KEY).header("x-api-key", API_KEY);
    let places = places().into_iter().flat_map(|place| [place; 3]).chain([twice]);
    places.map(|place| place(Request::get("/")).body(Body::empty()).unwrap()).collect()
}

type Place = fn(Builder) -> Builder;

fn places() -> [Place; 3] {
    [
        |request| request.header("x-api-key", API_KEY),
        |request| request.header("authorization", format!("Bearer {API_KEY}")),
        |request| request.header("cookie", format!("session={API_KEY}")),
    ]
}

async fn shown(decision: Option<axum::Extension<Decision>>) -> (StatusCode, String) {
    (StatusCode::OK, format!("{decision:?}"))
}
