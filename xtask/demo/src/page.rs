//! The pages that the demo shows: a few files, as they were when it was built.

use axum::{
    Router,
    http::header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, X_CONTENT_TYPE_OPTIONS,
    },
    routing::{MethodRouter, get},
};

/// The page at `/`, and what it loads.
pub(crate) fn router() -> Router {
    shared(include_str!("page/page.html"))
        .route("/page.js", script(include_str!("page/page.js")))
        .route("/chart.js", script(include_str!("page/chart.js")))
}

/// The page about leases at `/`, and what it loads.
#[cfg(feature = "redis")]
pub(crate) fn of_leases() -> Router {
    shared(include_str!("page/leases.html"))
        .route("/leases.css", file("text/css; charset=utf-8", include_str!("page/leases.css")))
        .route("/leases.js", script(include_str!("page/leases.js")))
        .route("/windows.js", script(include_str!("page/windows.js")))
}

/// A page, and what both of them load.
fn shared(page: &'static str) -> Router {
    Router::new()
        .route("/", file("text/html; charset=utf-8", page))
        .route("/canvas.js", script(include_str!("page/canvas.js")))
        .route("/page.css", file("text/css; charset=utf-8", include_str!("page/page.css")))
        .route("/icon.svg", file("image/svg+xml", include_str!("page/icon.svg")))
}

fn script(text: &'static str) -> MethodRouter {
    file("text/javascript; charset=utf-8", text)
}

fn file(content_type: &'static str, text: &'static str) -> MethodRouter {
    let headers = [
        (CONTENT_TYPE, content_type),
        (CONTENT_SECURITY_POLICY, OWN_ONLY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CACHE_CONTROL, "no-cache"),
    ];
    get(async move || -> ([(HeaderName, &str); 4], &str) { (headers, text) })
}

/// Whatever gets into the page, it loads nothing from elsewhere and runs nothing of its own.
const OWN_ONLY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";
