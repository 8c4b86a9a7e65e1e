//! `Router::call` on one thread, without a socket.

use std::{hint::black_box, net::SocketAddr, time::Instant};

use anyhow::{Result, ensure};
use axum::{Router, body::Body, extract::ConnectInfo, http::Request};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

use super::{bare, constant, governor, idle, ours};
use crate::{
    bench::{Bench, Title},
    row::{Mark, Unit},
    sample::Side,
    setup::Outcome,
};

pub(super) fn rows(bench: &mut Bench<'_>) -> Result<()> {
    let runtime = Builder::new_current_thread().build()?;
    let (bare, constant) = (bare(), constant());
    for (name, app) in [
        ("http, in process, a layer that does nothing", idle()),
        ("http, in process, a layer that adds three constant headers", constant.clone()),
    ] {
        let title = Title { name, beside: "the bare handler", mark: Mark::None };
        bench.race(&title, Unit::Nanos, || (side(&runtime, &app), side(&runtime, &bare)));
    }
    for outcome in [Outcome::Allowed, Outcome::Denied] {
        let name = format!("http, in process, {}", outcome.name());
        let (ours, governor) = (ours(outcome)?, governor(outcome)?);
        let (beside, than, least, reach) = match outcome {
            Outcome::Allowed => ("a layer of three constant headers", &constant, 1.1, 1.0),
            Outcome::Denied => ("the bare handler", &bare, 1.4, 0.07),
        };
        for app in [&ours, &governor] {
            // The one permit is spent before.
            runtime.block_on(request(app))?;
        }
        let title = Title { name: &name, beside, mark: Mark::Ratio(least) };
        bench.race(&title, Unit::Nanos, || (side(&runtime, &ours), side(&runtime, than)));
        let name = format!("{name}: tower_governor");
        let title = Title { name: &name, beside: "tower_governor", mark: Mark::Ratio(reach) };
        bench.race(&title, Unit::Nanos, || (side(&runtime, &ours), side(&runtime, &governor)));
    }
    Ok(())
}

/// Nanoseconds of a request.
fn side<'a>(runtime: &'a Runtime, app: &'a Router) -> Side<'a> {
    Box::new(move || {
        let began = Instant::now();
        let done = runtime.block_on(async {
            for _ in 0..REQUESTS {
                request(app).await?;
            }
            anyhow::Ok(())
        });
        done.map_or(f64::NAN, |()| began.elapsed().as_nanos() as f64 / f64::from(REQUESTS))
    })
}

async fn request(app: &Router) -> Result<()> {
    let peer = ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 443)));
    let request = Request::get("/").extension(peer).body(Body::empty())?;
    let response = black_box(app.clone().oneshot(request).await?);
    let status = response.status().as_u16();
    ensure!(matches!(status, 200 | 429), "status {status}");
    Ok(())
}

const REQUESTS: u32 = 500;
