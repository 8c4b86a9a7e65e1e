//! The demo as its user runs it: a process, real requests, Ctrl-C.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, ChildStdout, Command, Stdio},
};

use ratelimit_servers::Server;

/// A running demo; it ends with the test.
struct Demo {
    process: Child,
    output: BufReader<ChildStdout>,
    address: String,
}

impl Demo {
    fn start() -> Self {
        Self::start_on("memory", &[])
    }

    /// With a store, and what the environment says of it.
    fn start_on(backend: &str, environment: &[(&str, &OsStr)]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_ratelimit-demo"))
            .args(["--port", "0", "--backend", backend])
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").unwrap().to_owned();
        Self { process, output, address }
    }

    /// The answer to a request of this client: status line, headers and body.
    fn get(&self, path: &str, client: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: demo\r\nX-API-Key: {client}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// How many requests this client has admitted until the first denial, which follows.
    fn admitted(&self, path: &str, client: &str) -> (usize, String) {
        let mut admitted = 0;
        loop {
            let answer = self.get(path, client);
            if answer.starts_with("HTTP/1.1 429") {
                return (admitted, answer);
            }
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            assert!(header(&answer, "x-ratelimit-remaining").is_some(), "{answer}");
            admitted += 1;
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let mut headers = answer.lines().filter_map(|line| line.split_once(": "));
    headers.find(|(found, _)| *found == name).map(|(_, value)| value)
}

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
    let interrupt = Command::new("kill").args(["-INT", &demo.process.id().to_string()]).status();
    assert!(interrupt.unwrap().success());
    assert!(demo.process.wait().unwrap().success());
    let mut rest = String::new();
    demo.output.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "stopped\n");
}
