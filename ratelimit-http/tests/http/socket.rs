//! A server on a real socket, and what goes over the wire.

use std::net::SocketAddr;

use axum::{
    Router,
    body::Body,
    extract::Request,
    response::Response,
    routing::{get, post},
};
use hyper_util::rt::TokioIo;
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
    let client = ApiKey::header("x-api-key").or(PeerAddr);
    let (server, serving) = serve(app(per_minute(1, client))).await?;

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

/// The answer to these bytes, up to the end of a head.
async fn head(stream: &mut TcpStream, bytes: &str) -> std::io::Result<String> {
    stream.write_all(bytes.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

// FAULTS 126.
#[tokio::test]
async fn a_denied_client_is_not_asked_for_its_body() -> std::io::Result<()> {
    let read = Router::new().route("/", post(async |body: String| body));
    let (server, serving) = serve(read.layer(per_minute(1, PeerAddr))).await?;
    let upload =
        "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n";
    let first = head(&mut TcpStream::connect(server).await?, upload).await?;
    assert!(first.starts_with("HTTP/1.1 100 Continue"), "{first}");
    let second = head(&mut TcpStream::connect(server).await?, upload).await?;
    assert!(second.starts_with("HTTP/1.1 429 "), "{second}");
    serving.abort();
    Ok(())
}

/// Sends a request on a connection that stays open; returns the status.
async fn status(stream: &mut TcpStream, path: &str) -> std::io::Result<String> {
    let head = head(stream, &format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n")).await?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.and_then(|length| length.parse().ok()).expect("it has a length")];
    stream.read_exact(&mut body).await?;
    Ok(head[9..12].to_owned())
}

// FAULTS 228.
#[tokio::test]
async fn a_function_of_the_layer_that_panics_closes_no_connection() -> std::io::Result<()> {
    let unlucky = |path: &str| {
        let path = path.to_owned();
        move |uri: &http::Uri| assert_ne!(uri.path(), path)
    };
    let (cost, skip, settle) = (unlucky("/cost"), unlucky("/skip"), "/settle");
    let layer = per_minute(3, "everyone")
        .cost_by(move |request| {
            cost(&request.uri);
            Some(if request.uri.path() == "/respond" { 9 } else { 1 })
        })
        .skip(move |request| {
            skip(&request.uri);
            false
        })
        .settle_by(|response| {
            assert!(!response.headers.contains_key("x-unlucky"));
            None
        })
        .respond_with(|rejection, request| {
            assert_ne!(request.uri.path(), "/respond");
            rejection.to_response()
        });
    let app = Router::new().route("/", get(async || "hello"));
    let app = app.route(settle, get(async || [("x-unlucky", "1")])).layer(layer);
    let (server, serving) = serve(app).await?;
    let mut stream = TcpStream::connect(server).await?;
    for path in ["/cost", "/skip", "/settle", "/respond", "/cost"] {
        assert_eq!(status(&mut stream, path).await?, "500", "{path}");
    }
    for expected in ["200", "200", "429"] {
        assert_eq!(status(&mut stream, "/").await?, expected, "settling came after the charge");
    }
    serving.abort();
    Ok(())
}

/// Takes over the connection, and says back what it hears.
async fn echo(mut request: Request) -> Response {
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let upgraded = upgrade.await.expect("the client goes on");
        let (mut from, mut to) = tokio::io::split(TokioIo::new(upgraded));
        tokio::io::copy(&mut from, &mut to).await
    });
    let switching = http::Response::builder().status(101).header("upgrade", "echo");
    switching.header("connection", "upgrade").body(Body::empty()).expect("response is valid")
}

// FAULTS 126.
#[tokio::test]
async fn a_connection_that_is_upgraded_was_charged_once_whatever_goes_over_it()
-> std::io::Result<()> {
    let app = Router::new().route("/", get(echo)).layer(per_minute(2, PeerAddr));
    let (server, serving) = serve(app).await?;
    let upgrade = "GET / HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    let mut stream = TcpStream::connect(server).await?;
    let switching = head(&mut stream, upgrade).await?;
    assert!(switching.starts_with("HTTP/1.1 101 "), "{switching}");
    assert!(switching.contains("x-ratelimit-remaining: 1\r\n"), "{switching}");
    for _ in 0..100 {
        stream.write_all(b"ping").await?;
        let mut heard = [0; 4];
        stream.read_exact(&mut heard).await?;
        assert_eq!(&heard, b"ping");
    }
    let other = head(&mut TcpStream::connect(server).await?, upgrade).await?;
    assert!(other.contains("x-ratelimit-remaining: 0\r\n"), "{other}");
    let denied = head(&mut TcpStream::connect(server).await?, upgrade).await?;
    assert!(denied.starts_with("HTTP/1.1 429 "), "{denied}");
    serving.abort();
    Ok(())
}

// FAULTS 114.
#[tokio::test]
async fn a_header_that_is_folded_over_two_lines_is_refused_by_the_server() -> std::io::Result<()> {
    let (server, serving) = serve(app(per_minute(9, PeerAddr))).await?;
    let folded = "GET / HTTP/1.1\r\nx-forwarded-for: 192.0.2.1,\r\n 192.0.2.2";
    let refused = exchange(server, folded).await?;
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
    serving.abort();
    Ok(())
}

type Serving = tokio::task::JoinHandle<std::io::Result<()>>;

async fn serve(app: Router) -> std::io::Result<(SocketAddr, Serving)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let server = listener.local_addr()?;
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    Ok((server, tokio::spawn(axum::serve(listener, app).into_future())))
}
