//! The cost that a layer on memory adds to a request that axum routes, ours and tower_governor's.

mod in_process;
mod wrk;

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use axum::{
    Router,
    http::HeaderValue,
    response::Response,
    routing::{Route, get},
};
use ratelimit_algorithms::Limiter;
use ratelimit_http::{PeerAddr, RateLimitLayer};
use ratelimit_memory::Memory;
use tower::{layer::layer_fn, util::MapResponseLayer};
use tower_governor::{GovernorLayer, governor::GovernorConfigBuilder};

use crate::{bench::Bench, setup::Outcome};

pub(crate) fn rows(bench: &mut Bench<'_>) -> Result<()> {
    in_process::rows(bench)?;
    wrk::rows(bench)
}

fn bare() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

/// Behind a layer that does nothing.
fn idle() -> Router {
    bare().layer(layer_fn(|service: Route| service))
}

/// Behind a layer that adds as many headers as ours, and asks nobody.
fn constant() -> Router {
    bare().layer(MapResponseLayer::new(|mut response: Response| {
        let headers = response.headers_mut();
        headers.insert("x-ratelimit-limit", HeaderValue::from_static("100000000"));
        headers.insert("x-ratelimit-remaining", HeaderValue::from_static("99999999"));
        headers.insert("x-ratelimit-reset", HeaderValue::from_static("1"));
        response
    }))
}

fn ours(outcome: Outcome) -> Result<Router> {
    let limiter = Limiter::new(Memory::new(), "bench", outcome.bucket())?;
    Ok(bare().layer(RateLimitLayer::new(limiter, PeerAddr)))
}

/// With its headers, as ours has them.
fn governor(outcome: Outcome) -> Result<Router> {
    let (burst, period) = match outcome {
        Outcome::Allowed => (100_000_000, Duration::from_secs(1)),
        Outcome::Denied => (1, Duration::from_secs(3_600)),
    };
    let mut builder = GovernorConfigBuilder::default();
    let config = builder.period(period).burst_size(burst).use_headers().finish();
    let config = config.context("neither is zero")?;
    Ok(bare().layer(GovernorLayer::new(Arc::new(config))))
}
