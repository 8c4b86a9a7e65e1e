#![allow(unused)]

use std::sync::Arc;

use ratelimit_algorithms::{Backend, FixedWindow, Limiter};
use ratelimit_memory::Memory;

fn call(limiter: &Limiter<Memory>, user: u32) {
    limiter.check(format!("user:{user}")).now();
}

fn main() {}
