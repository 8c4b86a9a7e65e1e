//! Clients of the gateway, in HTTP/1.0: a stream is the bytes that follow the head.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Sends a request; returns the whole answer.
pub(crate) async fn send(
    address: SocketAddr,
    line: &str,
    key: &str,
    body: &str,
) -> io::Result<String> {
    let mut connection = request(address, line, key, body).await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    Ok(answer)
}

async fn request(address: SocketAddr, line: &str, key: &str, body: &str) -> io::Result<TcpStream> {
    let mut connection = TcpStream::connect(address).await?;
    let length = body.len();
    let head =
        format!("{line} HTTP/1.0\r\nauthorization: Bearer {key}\r\ncontent-length: {length}");
    connection.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await?;
    Ok(connection)
}

/// The outcome of a request for a stream.
pub(crate) enum Stream {
    /// With the response's head.
    Denied(String),
    Open(OpenStream),
}

pub(crate) struct OpenStream {
    connection: TcpStream,
    /// The bytes that have come so far: whole events, at the end.
    text: String,
    /// The number of tokens after which to leave, if the model says that.
    leave_after: Option<usize>,
}

impl Stream {
    /// Asks for a stream of this key, and reads up to its first token.
    pub(crate) async fn open(address: SocketAddr, key: u64) -> Result<Self, String> {
        let body = format!(r#"{{"prompt": "three small words", "max_tokens": 50, "user": {key}}}"#);
        let text = |error: io::Error| format!("key {key}: {error}");
        let line = "POST /v1/completions";
        let connection = request(address, line, &super::key(key), &body).await.map_err(text)?;
        let mut stream = OpenStream { connection, text: String::new(), leave_after: None };
        while !stream.text.contains("\r\n\r\n") {
            stream.read().await?;
        }
        if stream.text.starts_with("HTTP/1.0 429 ") {
            return Ok(Self::Denied(stream.text));
        }
        if !stream.text.starts_with("HTTP/1.0 200 ") {
            return Err(stream.text);
        }
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
    /// Reads the stream to its end, or leaves it where the model says.
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
        let end = self.connection.read_u8().await.map_err(|error| error.kind());
        if end == Err(io::ErrorKind::UnexpectedEof) { Ok(()) } else { Err(format!("{end:?}")) }
    }

    fn tokens(&self) -> usize {
        let whole = self.text.rfind("\n\n").unwrap_or(0);
        self.text[..whole].matches("\"token\"").count()
    }

    async fn read(&mut self) -> Result<(), String> {
        let mut piece = [0; 4 << 10];
        let length = self.connection.read(&mut piece).await.map_err(|error| error.to_string())?;
        let piece = std::str::from_utf8(&piece[..length]).map_err(|error| error.to_string())?;
        self.text.push_str(piece);
        if length == 0 { Err(format!("ends after {}", self.text)) } else { Ok(()) }
    }
}
