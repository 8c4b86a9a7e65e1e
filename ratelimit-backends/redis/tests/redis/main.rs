//! Promises of this store beyond those of every store, on servers of its own.

mod store;
mod store_behind_proxy;

mod access_control;
mod calendar;
mod cluster;
mod coalescing;
mod concurrency;
mod contention;
mod cost;
mod damage;
mod dropped_callers;
mod hostile;
mod in_flight;
mod migration;
mod network;
mod outage;
mod refusing_servers;
mod rolling_deploy;
mod runtimes;
mod sentinel;
mod server_side;
mod settings;
#[cfg(any(feature = "tls-rustls", feature = "tls-native"))]
mod tls;
mod versions;
