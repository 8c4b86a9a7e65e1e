//! Serving: a connection is closed if the head of a request does not come in time.

use std::{convert::Infallible, pin::pin, time::Duration};

use axum::{Router, body::Body};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use ratelimit_http::Peer;
use tokio::net::TcpListener;
use tower::ServiceExt;

/// Serves `app` until `stop` is ready, and the requests that are under way by then.
pub(crate) async fn serve(listener: TcpListener, app: Router, stop: impl Future<Output = ()>) {
    let connections = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let Ok((stream, peer)) = accepted else {
            // Too many files are open, say: that does not pass at once.
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        };
        let app = app.clone();
        let respond = move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            let response = app.clone().oneshot(request.map(Body::new));
            async move { Ok::<_, Infallible>(response.await.unwrap_or_else(|never| match never {})) }
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service_fn(respond));
        tokio::spawn(connections.watch(connection));
    }
    drop(listener);
    connections.shutdown().await;
}

/// Also the time that a connection may be idle between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
        time::Instant,
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_head_that_is_not_sent_in_time_closes_the_connection() -> std::io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let app = Router::new().route("/", get(async || "hello"));
        let serving = tokio::spawn(serve(listener, app, std::future::pending()));

        let mut stream = TcpStream::connect(address).await?;
        let begin = Instant::now();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: demo\r\n").await?;
        let mut response = Vec::new();
        stream.read_to_end(&mut response).await?;
        assert!(HEAD_TIMEOUT <= begin.elapsed(), "{:?}", begin.elapsed());
        assert!(!response.starts_with(b"HTTP/1.1 200"), "{response:?}");
        serving.abort();
        Ok(())
    }
}
