//! The page that the demo shows: a few files, as they were when it was built.

use axum::{
    Router,
    http::header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, X_CONTENT_TYPE_OPTIONS,
    },
    routing::get,
};

/// The page at `/`, and what it loads.
pub(crate) fn router() -> Router {
    let file = |content_type, text: &'static str| {
        let headers = [
            (CONTENT_TYPE, content_type),
            (CONTENT_SECURITY_POLICY, OWN_ONLY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (CACHE_CONTROL, "no-cache"),
        ];
        get(async move || -> ([(HeaderName, &str); 4], &str) { (headers, text) })
    };
    Router::new()
        .route("/", file("text/html; charset=utf-8", include_str!("page/page.html")))
        .route("/page.css", file("text/css; charset=utf-8", include_str!("page/page.css")))
        .route("/page.js", file("text/javascript; charset=utf-8", include_str!("page/page.js")))
        .route("/chart.js", file("text/javascript; charset=utf-8", include_str!("page/chart.js")))
        .route("/icon.svg", file("image/svg+xml", include_str!("page/icon.svg")))
}

/// Whatever gets into the page, it loads nothing from elsewhere and runs nothing of its own.
const OWN_ONLY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";
