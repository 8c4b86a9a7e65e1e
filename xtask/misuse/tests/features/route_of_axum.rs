#![allow(unused)]

use ratelimit_http::MatchedRoute;

fn main() {}
