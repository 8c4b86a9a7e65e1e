//! Promises of this store beyond those of every store, on servers of its own.

mod scene;
mod store;

mod access;
mod calendar;
mod cluster;
mod contention;
mod cost;
mod damage;
mod dropped;
mod hostile;
mod in_flight;
mod many;
mod migration;
mod network;
mod outage;
mod refusal;
mod runtimes;
mod sentinel;
mod server_side;
mod settings;
#[cfg(any(feature = "tls-rustls", feature = "tls-native"))]
mod tls;
mod together;
mod versions;
