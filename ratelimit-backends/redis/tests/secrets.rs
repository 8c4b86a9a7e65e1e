//! Passwords and keys, looked for in everything that is said of them.

use std::{
    error::Error,
    fmt::Debug,
    sync::Mutex,
    time::{Duration, Instant},
};

use log::{LevelFilter, Log, Metadata, Record};
use ratelimit_algorithms::{Limiter, TokenBucket};
use ratelimit_redis::RedisSettings;
use ratelimit_servers::{Fault, Proxy, Server};

// FAULTS 193.
#[tokio::test]
async fn no_secret_is_in_an_error_a_debug_text_or_a_log() {
    log::set_logger(&SAID).expect("this is the only logger");
    log::set_max_level(LevelFilter::Trace);
    let Some(server) = Server::start(&["--requirepass", PASSWORD]) else { return };
    let proxy = Proxy::start(server.port);

    for url in [
        format!("redis://:{PASSWORD}@127.0.0.1:port"),
        format!("redis://:{PASSWORD}%zz@"),
        format!("redi://:{PASSWORD}@127.0.0.1"),
    ] {
        note(&RedisSettings::new(&url).map(drop).expect_err("this is no URL"));
    }
    for credentials in [format!("limits:{PASSWORD}"), format!(":{PASSWORD}{PASSWORD}")] {
        let settings = settings(&format!("redis://{credentials}@127.0.0.1:{}", proxy.port));
        note_debug(&settings);
        note(&settings.connect().await.map(drop).expect_err("it is wrong"));
    }

    let settings = settings(&format!("redis://:{PASSWORD}@127.0.0.1:{}", proxy.port));
    let redis = settings.connect().await.expect("it is right");
    note_debug(&redis);
    let limiter = Limiter::new(redis, "limit", TokenBucket::per_second(10)).expect("good");
    note_debug(&limiter);
    for fault in [
        Fault::Garbage(b"HTTP/1.1 400\r\n\r\n"),
        Fault::ResetBefore,
        Fault::ResetAfter,
        Fault::SwallowReplies,
        Fault::BlackHole,
    ] {
        note_debug(&limiter.check(KEY).await.expect("nothing is wrong"));
        proxy.set(fault);
        note(&limiter.check(KEY).await.expect_err("something is wrong"));
        proxy.set(Fault::None);
        let begun = Instant::now();
        while limiter.check(KEY).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(10), "it recovers");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    let said = SAID.0.lock().expect("nobody panics");
    assert!(said.contains("Incompatible") || said.contains("Auth"), "errors are looked at");
    assert!(said.contains("EVAL"), "the log is looked at");
    for secret in [PASSWORD, KEY] {
        let place = said.find(secret).map(|at| &said[at.saturating_sub(200)..at]);
        assert_eq!(place, None);
    }
}

fn settings(url: &str) -> RedisSettings {
    RedisSettings::new(url).expect("the URL is good")
}

/// An error, and what caused it.
fn note(error: &(dyn Error + 'static)) {
    let mut next = Some(error);
    while let Some(error) = next {
        SAID.note(&format!("{error} {error:?} {error:#?}\n"));
        next = error.source();
    }
}

fn note_debug(it: &impl Debug) {
    SAID.note(&format!("{it:?} {it:#?}\n"));
}

const PASSWORD: &str = "canary-of-a-password";
const KEY: &str = "canary-of-a-key";

/// Everything that was said.
struct Said(Mutex<String>);

static SAID: Said = Said(Mutex::new(String::new()));

impl Said {
    fn note(&self, text: &str) {
        self.0.lock().expect("nobody panics").push_str(text);
    }
}

impl Log for Said {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        self.note(&format!("{} {}\n", record.target(), record.args()));
    }

    fn flush(&self) {}
}
