//! Clients of the gateway.

use std::{io, net::SocketAddr};

use http_body_util::BodyExt;
use hyper::{
    HeaderMap, Request, StatusCode,
    body::{Bytes, Incoming},
    header,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Sends a request in HTTP/1.0; returns the whole response.
pub(crate) async fn send(
    address: SocketAddr,
    line: &str,
    key: &str,
    body: &str,
) -> io::Result<String> {
    let mut connection = TcpStream::connect(address).await?;
    let length = body.len();
    let head =
        format!("{line} HTTP/1.0\r\nauthorization: Bearer {key}\r\ncontent-length: {length}");
    connection.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await?;
    let mut response = String::new();
    connection.read_to_string(&mut response).await?;
    Ok(response)
}

/// The clients of many streams: some have a connection of HTTP/1.1 for each stream, the others share
/// connections of HTTP/2.
pub(crate) struct Clients {
    unshared: Client<HttpConnector, String>,
    shared: Vec<Client<HttpConnector, String>>,
}

/// At most as many streams share a connection; the gateway accepts 200.
pub(crate) const SHARED_BY: usize = 100;
/// One key of so many has unshared connections.
pub(crate) const UNSHARED_EVERY: u64 = 3;

impl Clients {
    pub(crate) fn new(streams: usize) -> Self {
        let unshared = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
        let shared = || Client::builder(TokioExecutor::new()).http2_only(true).build_http();
        Self { unshared, shared: (0..streams.div_ceil(SHARED_BY)).map(|_| shared()).collect() }
    }

    /// The client of this stream, which is one of the key.
    pub(crate) fn of(&self, stream: usize, key: u64) -> Client<HttpConnector, String> {
        let unshared = key.is_multiple_of(UNSHARED_EVERY);
        if unshared { &self.unshared } else { &self.shared[stream / SHARED_BY] }.clone()
    }
}

/// The outcome of a request for a stream.
pub(crate) enum Stream {
    Denied(HeaderMap),
    Open(OpenStream),
}

pub(crate) struct OpenStream {
    body: Incoming,
    /// The bytes that have come so far: whole events, at the end.
    text: String,
    /// The number of tokens after which to hang up, if the model says that.
    leave_after: Option<usize>,
}

impl Stream {
    /// Asks for a stream of this key, and reads up to its first token.
    pub(crate) async fn open(
        client: Client<HttpConnector, String>,
        address: SocketAddr,
        key: u64,
    ) -> Result<Self, String> {
        let body = format!(r#"{{"prompt": "three small words", "max_tokens": 50, "user": {key}}}"#);
        let request = Request::post(format!("http://{address}/v1/completions"))
            .header(header::AUTHORIZATION, format!("Bearer {}", super::key(key)))
            .body(body)
            .map_err(|error| error.to_string())?;
        let response =
            client.request(request).await.map_err(|error| format!("{key}: {error:?}"))?;
        match response.status() {
            StatusCode::TOO_MANY_REQUESTS => {
                return Ok(Self::Denied(response.into_parts().0.headers));
            }
            StatusCode::OK => {}
            status => return Err(format!("{key}: {status}")),
        }
        let body = response.into_body();
        let mut stream = OpenStream { body, text: String::new(), leave_after: None };
        while stream.tokens() == 0 {
            stream.read().await?;
        }
        let number = stream.text.split("\"leave_after\":").nth(1);
        let number = number.and_then(|rest| rest.split([',', '}']).next());
        stream.leave_after = number.and_then(|number| number.parse().ok());
        Ok(Self::Open(stream))
    }
}

impl OpenStream {
    /// Reads the stream to its end, or hangs up where the model says.
    pub(crate) async fn finish(mut self) -> Result<(), String> {
        if let Some(tokens) = self.leave_after {
            while self.tokens() < tokens {
                self.read().await?;
            }
            return Ok(());
        }
        while !self.text.ends_with("data: [DONE]\n\n") {
            self.read().await?;
        }
        // HTTP/2 may end a stream by an empty frame.
        while let Some(bytes) = self.frame().await? {
            if !bytes.is_empty() {
                return Err(format!("goes on with {bytes:?}"));
            }
        }
        Ok(())
    }

    fn tokens(&self) -> usize {
        let whole = self.text.rfind("\n\n").unwrap_or(0);
        self.text[..whole].matches("\"token\"").count()
    }

    async fn read(&mut self) -> Result<(), String> {
        let bytes = self.frame().await?.ok_or_else(|| format!("ends after {}", self.text))?;
        self.text.push_str(std::str::from_utf8(&bytes).map_err(|error| error.to_string())?);
        Ok(())
    }

    async fn frame(&mut self) -> Result<Option<Bytes>, String> {
        let frame = self.body.frame().await.transpose().map_err(|error| format!("{error:?}"))?;
        Ok(frame.and_then(|frame| frame.into_data().ok()))
    }
}
