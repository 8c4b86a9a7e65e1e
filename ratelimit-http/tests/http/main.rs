//! Clients of a limited service: the things that they see, can do and cannot do.

mod support;

mod advice;
mod awaited;
mod client_ip;
mod failures;
mod formats;
#[cfg(feature = "grpc")]
mod grpc;
mod headers;
mod keys;
mod limits;
mod outgoing;
mod promises;
mod readiness;
mod rejections;
mod rules;
mod secrets;
mod settling;
#[cfg(feature = "axum")]
mod socket;
mod tiers;
mod told;
mod warnings;
