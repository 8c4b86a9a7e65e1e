//! Leases at work: processes that share one limit in Redis, and what all of them together admit.
//!
//! The demo starts the processes, and a Redis server where it is given none. Each process holds leases of
//! its own and sends itself more requests than the limit lets through. It reports every admission, so that
//! the page shows their number in the last window beside the limit, and beside the bound of the leases.

mod holder;
mod processes;
mod record;
mod terms;

mod picture;
mod simulation;

use std::sync::Arc;

use anyhow::{Context, Result};
use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::Json,
    routing::{get, post},
};
use ratelimit_servers::Server;
use serde_json::Value;

use crate::leases::{holder::Settings, processes::Processes, terms::Terms};

pub(crate) use crate::leases::{
    holder::{WORD as HOLDER, run as hold},
    picture::picture,
};

/// The demo's processes, and the server that it has started for them.
#[derive(Debug)]
struct Demo {
    processes: Processes,
    _server: Option<Server>,
}

/// The routes of the page. The processes end with them.
pub(crate) fn routes(share: f64) -> Result<Router> {
    let terms = Terms::new(share)?;
    let (url, server) = Server::given_or_started().context("RATELIMIT_WITHOUT_SERVERS is set")?;
    let processes = Processes::start(terms, &Settings { url, share })?;
    let demo = Arc::new(Demo { processes, _server: server });
    Ok(Router::new()
        .route("/processes", get(show))
        .route("/processes/kill", post(kill))
        .route("/processes/start", post(start))
        .with_state(demo))
}

async fn show(State(demo): State<Arc<Demo>>) -> Json<Value> {
    Json(demo.processes.show())
}

/// Takes the number of a process as JSON, which no page from elsewhere can send.
async fn kill(State(demo): State<Arc<Demo>>, Json(number): Json<usize>) -> StatusCode {
    status(demo.processes.kill(number))
}

async fn start(State(demo): State<Arc<Demo>>, Json(number): Json<usize>) -> StatusCode {
    status(demo.processes.restart(number))
}

/// 409 if nothing was done: there is no such process, or it is as it should be.
const fn status(is_done: bool) -> StatusCode {
    if is_done { StatusCode::NO_CONTENT } else { StatusCode::CONFLICT }
}
