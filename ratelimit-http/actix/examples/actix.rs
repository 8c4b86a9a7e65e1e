//! A service that greets each client three times a minute.
//!
//! `cargo run -p ratelimit-actix --example actix [ADDRESS]`

use actix_web::{App, HttpServer, web};
use ratelimit_actix::RateLimit;
use ratelimit_algorithms::{Limiter, TokenBucket};
use ratelimit_http::{PeerAddr, RateLimitLayer};
use ratelimit_memory::Memory;

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limiter = Limiter::new(Memory::new(), "greetings", TokenBucket::per_minute(3))?;
    let layer = RateLimitLayer::new(limiter, PeerAddr);
    let server = HttpServer::new(move || {
        let app = App::new().wrap(RateLimit::new(layer.clone()));
        app.route("/", web::get().to(async || "hello\n"))
    });

    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let server = server.bind(address)?;
    println!("listening on http://{}", server.addrs()[0]);
    Ok(server.run().await?)
}
