#![allow(unused)]

use ratelimit_algorithms::TokioClock;

fn main() {}
