//! The routes, each behind a limiter of its own.
//!
//! A client is its `X-API-Key`, else its peer address. All limits are 5 per 10 s; the adaptive
//! hybrid's burst multiplier of 2 lets 10 pass while it is quiet, and an export costs 5 of a
//! bucket of 10.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use axum::{
    Json, Router,
    http::{
        HeaderValue,
        header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS},
    },
    middleware::map_response,
    response::Response,
    routing::get,
};
use ratelimit_algorithms::{
    Adaptive, Algorithm, Backend, Decision, FixedWindow, LeakyBucket, Limiter,
    SlidingWindowCounter, SlidingWindowLog, TokenBucket,
};
use ratelimit_http::{
    ApiKey,
    HeaderFormat::{Draft10, XRateLimit},
    KeyFn, PeerAddr, RateLimitLayer,
};
use serde_json::{Value, json};

use crate::{
    page,
    statistics::{self, Report},
};

const LIMIT: u64 = 5;
const WINDOW: Duration = Duration::from_secs(10);

/// The whole service, over one store.
pub(crate) fn app(store: Arc<dyn Backend>) -> Result<Router> {
    let algorithms: [(&str, Algorithm); 7] = [
        ("fixed_window", FixedWindow::per(LIMIT, WINDOW).try_into()?),
        ("sliding_window_log", SlidingWindowLog::per(LIMIT, WINDOW).try_into()?),
        ("sliding_window_counter", SlidingWindowCounter::per(LIMIT, WINDOW).try_into()?),
        ("token_bucket", TokenBucket::per(LIMIT, WINDOW).try_into()?),
        ("leaky_bucket", LeakyBucket::per(LIMIT, WINDOW).try_into()?),
        ("adaptive", Adaptive::per(LIMIT, WINDOW).try_into()?),
        ("export", TokenBucket::per(10, WINDOW).try_into()?),
    ];
    // Digests of API keys are the same after a restart, and in every process of the demo.
    let client = ApiKey::header("x-api-key").pepper("the pepper of the demo").or(PeerAddr);
    let store = statistics::store(store);
    let mut app = page::router();
    let mut limiters = Vec::new();
    for (name, algorithm) in algorithms {
        let limiter = Limiter::new(store.clone(), name, algorithm)?;
        let layer = RateLimitLayer::new(limiter.clone(), client.clone())
            .cost(if name == "export" { 5 } else { 1 })
            .headers([XRateLimit, Draft10]);
        app = app.route(&format!("/api/{name}"), get(answer).layer(layer));
        limiters.push(limiter);
    }
    let report = Arc::new(Report::new(store, limiters, &client)?);
    let app = app.route("/statistics", get(async move || report.respond().await));
    Ok(app.layer(map_response(fresh)))
}

/// The page about leases, beside the routes that it uses.
#[cfg(feature = "redis")]
pub(crate) fn of_leases(routes: Router) -> Router {
    page::of_leases().merge(routes).layer(map_response(fresh))
}

/// Keeps caches from storing responses, and browsers from guessing their type.
async fn fresh(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.entry(X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
    response
}

async fn answer(axum::Extension(decision): axum::Extension<Decision>) -> Json<Value> {
    Json(json!({ "ok": true, "remaining": decision.remaining }))
}
