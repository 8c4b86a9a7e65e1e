#![allow(unused)]

use ratelimit_algorithms::LimitsFile;

fn main() {}
