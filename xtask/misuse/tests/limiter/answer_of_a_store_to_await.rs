#![allow(unused)]

use std::sync::Arc;

use ratelimit_algorithms::{Backend, FixedWindow, Limiter};
use ratelimit_memory::Memory;

fn call(limiter: &Limiter<Arc<dyn Backend>>) {
    limiter.check("user:42").now();
}

fn main() {}
