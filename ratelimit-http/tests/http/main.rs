//! Clients of a limited service: the things that they see, can do and cannot do.

mod support;

mod advice;
mod advice_cases;
mod async_keys;
mod client_ip;
mod cooldowns;
mod failures;
mod formats;
#[cfg(feature = "grpc")]
mod grpc;
mod headers;
mod keys;
mod limits;
mod outgoing;
mod outgoing_several;
mod promises;
mod readiness;
mod rejections;
mod rules;
mod secrets;
mod settling;
mod several;
mod shown_limits;
#[cfg(feature = "axum")]
mod socket;
#[cfg(feature = "tokio")]
mod streams;
mod tiers;
mod warnings;
