//! A login that is limited by address, and by address and user name together; only failures count.
//!
//! `cargo run -p ratelimit-http --features axum --example login [ADDRESS]`
//!
//! ```sh
//! curl -i http://ADDRESS/login -d '{"user":"ann","password":"wrong"}'
//! ```

use std::net::SocketAddr;

use axum::{
    Extension, Router,
    body::{Body, to_bytes},
    extract::Request,
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::post,
};
use ratelimit_algorithms::{FixedWindow, Limiter};
use ratelimit_http::{KeyFn, PeerAddr, RateLimitLayer};
use ratelimit_memory::Memory;
use serde_json::Value;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = Memory::new();
    let per_address = Limiter::new(store.clone(), "address", FixedWindow::per_day(100))?;
    let per_user = Limiter::new(store, "user", FixedWindow::per_hour(3))?;

    // Both together, so that nobody can lock a user out from another address.
    let user = ratelimit_http::Extension::new(|login: &Login| login.user.clone());
    let per_user = RateLimitLayer::new(per_user, PeerAddr.and(user)).settle_by(failures_only);
    let per_address = RateLimitLayer::new(per_address, PeerAddr).settle_by(failures_only);

    // The last layer is the outermost: an address is counted before its body is read.
    let app = Router::new()
        .route("/login", post(log_in))
        .layer(per_user)
        .layer(middleware::from_fn(read_login))
        .layer(per_address)
        .into_make_service_with_connect_info::<SocketAddr>();

    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

/// A request is charged before its outcome is known; a success is then refunded.
fn failures_only(response: &http::response::Parts) -> Option<u64> {
    response.status.is_success().then_some(0)
}

#[derive(Clone)]
struct Login {
    user: String,
    password: String,
}

/// Reads the body, and puts the user into the extensions for the layers inside.
async fn read_login(mut request: Request, next: Next) -> Response {
    let body = std::mem::replace(request.body_mut(), Body::empty());
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let Some(login) = parse(&body) else { return StatusCode::BAD_REQUEST.into_response() };
    request.extensions_mut().insert(login);
    next.run(request).await
}

/// More than any login.
const BODY_BYTES_MAX: usize = 4 << 10;

fn parse(body: &[u8]) -> Option<Login> {
    let login: Value = serde_json::from_slice(body).ok()?;
    // One key for each user, however the name is written.
    let user = login["user"].as_str()?.trim().to_lowercase();
    Some(Login { user, password: login["password"].as_str()?.to_owned() })
}

async fn log_in(Extension(login): Extension<Login>) -> StatusCode {
    if login.user == "ann" && login.password == "correct horse" {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::UNAUTHORIZED
    }
}
