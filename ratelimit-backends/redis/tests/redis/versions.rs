//! Servers of other versions than the one that is installed, by what they say of themselves.
//!
//! Of these, only the greeting is played: what they answer to `INFO server`, as far as it tells them
//! apart. `cargo xtask servers` runs the tests on other servers.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

use ratelimit_backend::{BackendError, Effect, ErrorKind};
use ratelimit_redis::{Redis, RedisSettings};

use crate::store_behind_proxy::failure;

// FAULTS 168.
#[tokio::test]
async fn redis_from_6_2_and_valkey_are_let_in() {
    for info in [
        "redis_version:6.2.14\r\nredis_git_sha1:00000000\r\nredis_mode:standalone\r\n",
        "redis_version:7.0.15\r\nredis_git_sha1:00000000\r\nredis_mode:standalone\r\n",
        "redis_version:7.4.1\r\nredis_git_sha1:00000000\r\nredis_mode:standalone\r\n",
        "redis_version:8.2.0\r\nredis_git_sha1:00000000\r\nredis_mode:standalone\r\n",
        "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:7.2.8\r\n",
        "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1\r\n\
         valkey_release_stage:ga\r\nserver_mode:standalone\r\n",
    ] {
        let greeted = greeted(b"+PONG\r\n", info).await;
        assert!(greeted.is_ok(), "{info}: {greeted:?}");
    }
}

// FAULTS 168.
#[tokio::test]
async fn an_older_server_is_incompatible_and_the_error_names_its_version() {
    for version in ["2.8.24", "5.0.14", "6.0.16"] {
        let refused = greeted(b"+PONG\r\n", &format!("redis_version:{version}\r\n")).await;
        let error = refused.as_ref().expect_err("it is too old");
        let text = error.to_string();
        assert!(text.contains(version), "{text}");
        assert_eq!(failure(refused), (ErrorKind::Incompatible, Effect::NotApplied));
    }
}

// FAULTS 156.
#[tokio::test]
async fn a_server_that_is_loading_is_unavailable() {
    let loading = b"-LOADING Redis is loading the dataset in memory\r\n";
    let refused = greeted(loading, "").await;
    assert_eq!(failure(refused), (ErrorKind::Unavailable, Effect::NotApplied));
}

/// Connects to who answers so to `PING` and to `INFO`.
async fn greeted(pong: &'static [u8], info: &str) -> Result<Redis, BackendError> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let address = listener.local_addr().expect("it is bound");
    let info = format!("${}\r\n# Server\r\n{info}\r\n", info.len() + 10);
    thread::spawn(move || {
        let (stream, _) = listener.accept().expect("somebody comes");
        greet(stream, pong, info.as_bytes());
    });
    let settings = RedisSettings::new(&format!("redis://{address}")).expect("the URL is good");
    settings.connect().await
}

fn greet(mut stream: TcpStream, pong: &[u8], info: &[u8]) {
    let mut buffer = [0; 1_024];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        let said = String::from_utf8_lossy(&buffer[..length]);
        let answer = match () {
            () if said.contains("PING") => pong,
            () if said.contains("INFO") => info,
            () if said.contains("SETNAME") => b"+OK\r\n",
            () => b":1\r\n",
        };
        let _ = stream.write_all(answer);
    }
}
