//! Keys of requests: clients behind a proxy, credentials, and both together.
//!
//! `cargo run -p ratelimit-http --example identity`

use std::error::Error;

use http::{Request, request::Parts};
use ratelimit_http::{ApiKey, ClientIp, KeyFn, MethodName, Peer};

/// The head of a request from `peer`, with what it says of whom it is for.
fn request(peer: &str, forwarded_for: &str) -> Result<Parts, Box<dyn Error>> {
    let request = Request::get("/").header("x-forwarded-for", forwarded_for).body(())?;
    let (mut parts, ()) = request.into_parts();
    parts.extensions.insert(Peer(peer.parse()?));
    Ok(parts)
}

fn main() -> Result<(), Box<dyn Error>> {
    let client = ClientIp::builder().x_forwarded_for().trusted_proxies(["10.0.0.0/8"]).build()?;
    for (peer, forwarded_for) in [
        ("203.0.113.7:4711", "198.51.100.1"),
        ("10.0.0.1:4711", "198.51.100.1"),
        ("10.0.0.1:4711", "192.0.2.66, 198.51.100.1, 10.0.0.2"),
        ("10.0.0.1:4711", "unknown"),
    ] {
        let counts = client.address(&request(peer, forwarded_for)?)?;
        println!("from {peer}, for {forwarded_for}: counts against {counts}");
    }

    // By credential if there is one, else by client; each method separately.
    let key = ApiKey::header("x-api-key").or(client).and(MethodName);
    let (one, other) =
        (request("10.0.0.1:1", "2001:db8::1")?, request("10.0.0.1:1", "2001:db8::2")?);
    println!("one network, one budget: {}", key.key(&one)? == key.key(&other)?);
    Ok(())
}
