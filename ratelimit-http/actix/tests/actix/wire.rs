//! A server on a real socket, and what goes over the wire.

use std::net::{SocketAddr, TcpListener};

use actix_web::{App, HttpServer, web};
use ratelimit_actix::RateLimit;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::layer;

async fn exchange(server: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(server).await.unwrap();
    let request = format!("{head}\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

#[actix_web::test]
async fn workers_share_a_budget_and_a_head_is_told_a_length() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let layer = layer();
    let server = HttpServer::new(move || {
        let app = App::new().wrap(RateLimit::new(layer.clone()));
        app.route("/", web::get().to(async || "hello"))
    });
    let server = server.workers(2).listen(listener).unwrap().run();
    let handle = server.handle();
    actix_web::rt::spawn(server);

    for remaining in [1, 0] {
        let served = exchange(address, "GET / HTTP/1.1").await;
        assert!(served.starts_with("HTTP/1.1 200 OK\r\n"), "{served}");
        assert!(served.contains(&format!("x-ratelimit-remaining: {remaining}\r\n")), "{served}");
    }
    let denied = exchange(address, "GET / HTTP/1.1").await;
    assert!(denied.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{denied}");
    assert_eq!(denied.matches("content-length: 31\r\n").count(), 1, "{denied}");
    assert!(denied.ends_with("\r\n\r\n{\"error\":\"rate limit exceeded\"}"), "{denied}");
    let head = exchange(address, "HEAD / HTTP/1.1").await;
    assert_eq!(head.matches("content-length: 31\r\n").count(), 1, "{head}");
    assert!(head.ends_with("\r\n\r\n"), "{head}");
    handle.stop(false).await;
}
