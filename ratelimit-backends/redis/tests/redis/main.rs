//! What this store promises beyond what every store does, on servers of its own.

mod store;

mod access;
mod agreement;
mod cluster;
mod cost;
mod many;
mod sentinel;
mod server_side;
