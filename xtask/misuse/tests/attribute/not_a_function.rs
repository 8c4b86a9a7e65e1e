#![allow(unused)]

use std::sync::LazyLock;

use ratelimit_algorithms::{AcquireError, FixedWindow, Limiter, rate_limit};
use ratelimit_memory::Memory;

static LIMITER: LazyLock<Limiter<Memory>> =
    LazyLock::new(|| Limiter::new(Memory::new(), "api", FixedWindow::per_second(1)).unwrap());

#[rate_limit(limiter = LIMITER)]
struct Call;

fn main() {}
