//! The middleware does what the layer does.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod layer;
mod parity_with_axum;
mod request;
mod streams;
mod support;
mod wire;
