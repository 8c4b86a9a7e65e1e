//! The routes, each behind a limiter of its own.
//!
//! A client is its `X-API-Key`, else its peer address. All limits are 5 per 10 s; the adaptive
//! hybrid's burst multiplier of 2 lets 10 pass while it is quiet, and an export costs 5 of a
//! bucket of 10.

use std::{sync::Arc, time::Duration};

use axum::{Json, Router, response::Html, routing::get};
use ratelimit_algorithms::{
    Adaptive, Algorithm, AsyncLimiter, Backend, ConfigError, Decision, FixedWindow, LeakyBucket,
    SlidingWindowCounter, SlidingWindowLog, TokenBucket,
};
use ratelimit_http::{ApiKey, KeyFn, PeerAddr, RateLimitLayer};
use serde_json::{Value, json};

const LIMIT: u64 = 5;
const WINDOW: Duration = Duration::from_secs(10);

/// The whole service, over one store.
pub(crate) fn app(store: Arc<dyn Backend>) -> Result<Router, ConfigError> {
    let algorithms: [(&str, Algorithm); 6] = [
        ("fixed_window", FixedWindow::per(LIMIT, WINDOW).try_into()?),
        ("sliding_window_log", SlidingWindowLog::per(LIMIT, WINDOW).try_into()?),
        ("sliding_window_counter", SlidingWindowCounter::per(LIMIT, WINDOW).try_into()?),
        ("token_bucket", TokenBucket::per(LIMIT, WINDOW).try_into()?),
        ("leaky_bucket", LeakyBucket::per(LIMIT, WINDOW).try_into()?),
        ("adaptive", Adaptive::per(LIMIT, WINDOW).try_into()?),
    ];
    // Digests of API keys are the same after a restart, and in every process of the demo.
    let client = ApiKey::header("x-api-key").pepper("demo").or(PeerAddr);
    let mut app = Router::new().route("/", get(page));
    for (name, algorithm) in algorithms {
        let limiter = AsyncLimiter::new(Arc::clone(&store), name, algorithm)?;
        let layer = RateLimitLayer::new(limiter, client.clone());
        app = app.route(&format!("/api/{name}"), get(answer).layer(layer));
    }
    let exports = AsyncLimiter::new(store, "export", TokenBucket::per(10, WINDOW))?;
    let layer = RateLimitLayer::new(exports, client).cost(5);
    Ok(app.route("/api/export", get(answer).layer(layer)))
}

async fn answer(axum::Extension(decision): axum::Extension<Decision>) -> Json<Value> {
    Json(json!({ "ok": true, "remaining": decision.remaining }))
}

async fn page() -> Html<&'static str> {
    Html(include_str!("page.html"))
}
