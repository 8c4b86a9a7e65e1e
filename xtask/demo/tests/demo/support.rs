//! A demo of the test's own.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, ChildStdout, Command, Stdio},
};

/// A running demo; it ends with the test.
pub(crate) struct Demo {
    pub(crate) process: Child,
    #[cfg_attr(not(unix), expect(dead_code, reason = "only an interrupt is waited for"))]
    pub(crate) output: BufReader<ChildStdout>,
    pub(crate) address: String,
}

impl Demo {
    pub(crate) fn start() -> Self {
        Self::start_on("memory", &[])
    }

    /// With a store, and what the environment says of it.
    pub(crate) fn start_on(backend: &str, environment: &[(&str, &OsStr)]) -> Self {
        Self::run(program().args(["--backend", backend]).envs(environment.iter().copied()))
    }

    /// With leases of 1 % of a limit in this server; in one that it starts, without a URL.
    pub(crate) fn start_leases(url: Option<&str>) -> Self {
        let mut program = program();
        program.args(["--backend", "redis", "--lease", "1%"]).env_remove(REDIS_URL);
        program.envs(url.map(|url| (REDIS_URL, url)));
        Self::run(&mut program)
    }

    fn run(program: &mut Command) -> Self {
        let mut process = program.stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").unwrap().to_owned();
        Self { process, output, address }
    }

    /// The answer to a request of this client: status line, headers and body.
    pub(crate) fn get(&self, path: &str, client: &str) -> String {
        self.send(&format!(
            "GET {path} HTTP/1.1\r\nHost: demo\r\nX-API-Key: {client}\r\nConnection: close\r\n\r\n"
        ))
    }

    /// The answer to a number that is posted as `content_type`.
    pub(crate) fn post(&self, path: &str, content_type: &str, number: usize) -> String {
        let body = number.to_string();
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nHost: demo\r\nContent-Type: {content_type}\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        ))
    }

    fn send(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Sends requests of a client until one is denied; returns the number admitted, and the denial.
    pub(crate) fn admitted(&self, path: &str, client: &str) -> (usize, String) {
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

fn program() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_ratelimit-demo"));
    program.args(["--port", "0"]);
    program
}

const REDIS_URL: &str = "RATELIMIT_REDIS_URL";

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let mut headers = answer.lines().filter_map(|line| line.split_once(": "));
    headers.find(|(found, _)| *found == name).map(|(_, value)| value)
}
