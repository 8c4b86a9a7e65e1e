//! The demo as its user runs it: a process, real requests, Ctrl-C.

use ratelimit_servers::Server;
use serde_json::{Value, json};

use crate::support::{Demo, header};

#[test]
fn every_route_admits_its_limit_and_then_says_when_to_come_back() {
    let demo = Demo::start();
    for (path, limit) in [
        ("/api/fixed_window", 5),
        ("/api/sliding_window_log", 5),
        ("/api/sliding_window_counter", 5),
        ("/api/token_bucket", 5),
        ("/api/leaky_bucket", 5),
        ("/api/adaptive", 10),
        ("/api/export", 2),
    ] {
        for client in ["alice", "bob"] {
            let (admitted, denial) = demo.admitted(path, client);
            // A window may turn over, or a token come back, while the requests are under way.
            assert!((limit..=2 * limit).contains(&admitted), "{path} admitted {admitted}");
            let seconds: u64 = header(&denial, "retry-after").unwrap().parse().unwrap();
            assert!((1..=20).contains(&seconds), "{denial}");
            assert!(header(&denial, "x-ratelimit-remaining").is_some(), "{denial}");
            assert!(denial.ends_with(r#"{"error":"rate limit exceeded"}"#), "{denial}");
            assert_eq!(header(&denial, "cache-control"), Some("no-store"), "{denial}");
            assert_eq!(header(&denial, "x-content-type-options"), Some("nosniff"), "{denial}");
        }
    }
}

#[test]
fn on_sqlite_a_limit_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("limits.sqlite");
    let start = || Demo::start_on("sqlite", &[("RATELIMIT_SQLITE_FILE", file.as_os_str())]);
    let (admitted, _) = start().admitted("/api/export", "alice");
    assert!((2..=4).contains(&admitted), "{admitted}");

    let again = start();
    assert!(again.get("/api/export", "alice").starts_with("HTTP/1.1 429"), "it remembers");
    assert!(again.get("/api/export", "bob").starts_with("HTTP/1.1 200"), "and knows who is who");
}

#[test]
fn on_redis_two_processes_share_a_limit() {
    let Some(server) = Server::start(&[]) else { return };
    let url = server.url();
    let start = || Demo::start_on("redis", &[("RATELIMIT_REDIS_URL", url.as_ref())]);
    let (one, other) = (start(), start());
    let (admitted, _) = one.admitted("/api/export", "alice");
    assert!((2..=4).contains(&admitted), "{admitted}");
    assert!(other.get("/api/export", "alice").starts_with("HTTP/1.1 429"), "it is the same limit");
    assert!(other.get("/api/export", "bob").starts_with("HTTP/1.1 200"), "and knows who is who");
}

#[test]
fn the_front_page_names_the_routes() {
    let page = Demo::start().get("/", "anybody");
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    assert!(page.contains("/api/sliding_window_log"), "{page}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_it_cleanly() {
    let mut demo = Demo::start();
    let interrupt =
        std::process::Command::new("kill").args(["-INT", &demo.process.id().to_string()]).status();
    assert!(interrupt.unwrap().success());
    assert!(demo.process.wait().unwrap().success());
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut demo.output, &mut rest).unwrap();
    assert_eq!(rest, "stopped\n");
}

#[test]
fn statistics_name_the_clients_of_the_page_and_nobody_else() {
    let demo = Demo::start();
    for client in ["alice", "hunter2"] {
        demo.admitted("/api/token_bucket", client);
    }
    let statistics = demo.get("/statistics", "hunter2");
    assert!(!statistics.contains("hunter2"), "{statistics}");
    let (_, body) = statistics.split_once("\r\n\r\n").unwrap();
    let told: Value = serde_json::from_str(body).unwrap();
    let offenders = told["offenders"].as_array().unwrap();
    let alice = json!({ "client": "alice", "denied": 1, "limiter": "token_bucket" });
    assert!(offenders.len() == 2 && offenders.contains(&alice), "{told}");
}
