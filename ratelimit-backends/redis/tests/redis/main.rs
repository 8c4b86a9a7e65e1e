//! What this store promises beyond what every store does, on servers of its own.

#[path = "../server/mod.rs"]
mod server;

mod store;

mod agreement;
mod cost;
