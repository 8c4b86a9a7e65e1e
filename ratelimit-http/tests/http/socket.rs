//! A server on a real socket, and what goes over the wire.

use std::net::SocketAddr;

use ratelimit_http::{ApiKey, KeyFn, PeerAddr};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::support::{app, per_minute};

async fn exchange(server: SocketAddr, head: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(server).await?;
    let request = format!("{head}\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    Ok(response)
}

#[tokio::test]
async fn clients_are_limited_over_the_wire() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let server = listener.local_addr()?;
    let client = ApiKey::header("x-api-key").or(PeerAddr);
    let app = app(per_minute(1, client)).into_make_service_with_connect_info::<SocketAddr>();
    let serving = tokio::spawn(axum::serve(listener, app).into_future());

    let served = exchange(server, "GET / HTTP/1.1").await?;
    assert!(served.starts_with("HTTP/1.1 200 OK\r\n"), "{served}");
    assert!(served.contains("x-ratelimit-remaining: 0\r\n"), "{served}");

    let denied = exchange(server, "GET / HTTP/1.1").await?;
    assert!(denied.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{denied}");
    assert!(denied.contains("retry-after: 60\r\n"), "{denied}");
    assert!(denied.ends_with("\r\n\r\n{\"error\":\"rate limit exceeded\"}"), "{denied}");

    let head = exchange(server, "HEAD / HTTP/1.1").await?;
    assert!(head.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{head}");
    assert_eq!(head.matches("content-length: 31\r\n").count(), 1, "{head}");
    assert!(head.ends_with("\r\n\r\n"), "{head}");

    let keyed = exchange(server, "GET / HTTP/1.1\r\nx-api-key: k1").await?;
    assert!(keyed.starts_with("HTTP/1.1 200 OK\r\n"), "{keyed}");
    let twice = exchange(server, "GET / HTTP/1.1\r\nx-api-key: k1\r\nX-Api-Key: k1").await?;
    assert!(twice.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{twice}");

    serving.abort();
    Ok(())
}
