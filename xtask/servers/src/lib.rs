//! Servers, browsers and examples for tests: child processes on free loopback ports, which end with
//! their handles.
#![allow(clippy::must_use_candidate, reason = "this serves tests only")]

mod browser;
mod effort;
mod examples;
mod proxy;

pub use crate::{
    browser::Browser,
    effort::effort,
    examples::{Example, run_example, run_examples},
    proxy::{Fault, Proxy},
};

use std::{
    env,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use tempfile::TempDir;

/// A `redis-server`, or a sentinel.
#[derive(Debug)]
pub struct Server {
    process: Child,
    /// The port that it listens on.
    pub port: u16,
    options: Vec<String>,
    directory: TempDir,
}

impl Server {
    /// Starts the one that `RATELIMIT_REDIS_SERVER` names, or `redis-server`; `None` only where
    /// `RATELIMIT_WITHOUT_SERVERS` says that tests are to do without.
    ///
    /// # Panics
    ///
    /// If there is none, so that no test passes that has not run.
    pub fn start(options: &[&str]) -> Option<Self> {
        Self::start_as("", options)
    }

    /// Starts one with the given configuration file.
    pub fn start_as(configuration: &str, options: &[&str]) -> Option<Self> {
        if is_without() {
            return None;
        }
        let program = program();
        assert!(is_there(&program), "there is no {program}: cargo xtask test --install gets it");
        let directory = tempfile::tempdir().expect("a directory can be made");
        let options: Vec<_> = options.iter().map(|&option| option.to_owned()).collect();
        std::fs::write(directory.path().join(FILE), configuration).expect("the directory is new");
        // Somebody else may take the port before the server does.
        for _ in 0..STARTS_MAX {
            let port = free_port();
            let mut process = run(directory.path(), port, &options);
            if is_up(port, &mut process) {
                return Some(Self { process, port, options, directory });
            }
            let _ = process.kill();
            let _ = process.wait();
        }
        panic!("no server came up");
    }

    /// The URL in `RATELIMIT_REDIS_URL`; or, where that is not set, that of a server started for this, which
    /// ends with the returned handle.
    ///
    /// # Panics
    ///
    /// If there is no such program: see [`start`](Self::start).
    pub fn given_or_started() -> Option<(String, Option<Self>)> {
        if let Ok(url) = env::var("RATELIMIT_REDIS_URL") {
            return Some((url, None));
        }
        let server = Self::start(&[])?;
        Some((server.url(), Some(server)))
    }

    /// Returns true if the program was built with TLS.
    ///
    /// Without a certificate it ends at once in any case, and says why. (Valkey has the settings in
    /// every build.)
    pub fn has_tls() -> bool {
        let mut command = Command::new(program());
        command.args([
            "--port",
            "0",
            "--bind",
            "127.0.0.1",
            "--tls-port",
            &free_port().to_string(),
        ]);
        let output = command.output().expect("the program is there");
        String::from_utf8_lossy(&output.stdout).contains("No tls-cert-file")
    }

    /// Ends it, as a crash would.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Starts it again on the same port, empty.
    pub fn restart(&mut self) {
        self.kill();
        self.process = run(self.directory.path(), self.port, &self.options);
        assert!(is_up(self.port, &mut self.process), "the server came up again");
    }

    /// Stops the process, which then keeps its connections and answers nothing.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.process.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "the process is there");
    }

    /// Returns the URL for clients.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns what `redis-cli` prints for a command.
    pub fn cli(&self, command: &[&str]) -> String {
        cli(self.port, command)
    }

    /// The line of `INFO` that begins so.
    pub fn info(&self, section: &str, line: &str) -> Option<String> {
        let info = self.cli(&["INFO", section]);
        info.lines().find(|found| found.starts_with(line)).map(str::to_owned)
    }

    /// Returns how often a command has been called.
    pub fn calls(&self, command: &str) -> u64 {
        let line = self.info("commandstats", &format!("cmdstat_{command}:"));
        line.map_or(0, |line| field(&line, "calls="))
    }

    /// Returns true if it has a setting of this name.
    fn knows(&self, setting: &str) -> bool {
        !self.cli(&["CONFIG", "GET", setting]).is_empty()
    }

    /// All of its keys.
    pub fn keys(&self) -> Vec<String> {
        self.cli(&["--scan"]).lines().map(str::to_owned).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Three nodes that share all slots.
#[derive(Debug)]
#[non_exhaustive]
pub struct Cluster {
    /// Its nodes.
    pub nodes: Vec<Server>,
}

impl Cluster {
    /// Starts one, as [`Server::start`] does.
    pub fn start() -> Option<Self> {
        let probe = Server::start(&[])?;
        let nodes: Vec<_> = (0..3).map(|_| Self::node(&probe)).collect::<Option<_>>()?;
        let addresses: Vec<_> = nodes.iter().map(Server::address).collect();
        let mut create = vec!["create"];
        create.extend(addresses.iter().map(String::as_str));
        Self::manage(&create);
        let is_ready =
            |node: &Server| poll(|| node.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok"));
        assert!(nodes.iter().all(is_ready), "the cluster came up");
        Some(Self { nodes })
    }

    /// Starts a replica of a node, which takes its place when that is lost.
    ///
    /// # Panics
    ///
    /// If it cannot be added.
    pub fn add_replica_of(&self, node: usize) -> Option<Server> {
        let primary = &self.nodes[node];
        let replica = Self::node(primary)?;
        let id = primary.cli(&["CLUSTER", "MYID"]);
        let [new, known] = [&replica, primary].map(Server::address);
        Self::manage(&["add-node", &new, &known, "--cluster-slave", "--cluster-master-id", &id]);
        let is_up = || replica.info("replication", "master_link_status:up").is_some();
        assert!(poll(is_up), "it is in step");
        Some(replica)
    }

    /// Starts a node of the program that `other` runs.
    fn node(other: &Server) -> Option<Server> {
        let has_port = other.knows("cluster-port");
        let bus = free_port().to_string();
        let cluster = ["--cluster-enabled", "yes"];
        // Without it, nodes speak to one another at the port that is higher by 10,000.
        let port = if has_port { &["--cluster-port", &*bus][..] } else { &[] };
        // The loss of a node is known soon, and is not that of all.
        let loss = ["--cluster-node-timeout", "1000", "--cluster-require-full-coverage", "no"];
        Server::start(&[&cluster, port, &loss].concat())
    }

    fn manage(command: &[&str]) {
        let mut cli = Command::new("redis-cli");
        let output = cli.arg("--cluster").args(command).arg("--cluster-yes").output();
        let output = output.expect("redis-cli runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }

    /// Returns the URL for clients.
    pub fn url(&self) -> String {
        format!("redis-cluster://127.0.0.1:{}", self.nodes[0].port)
    }
}

/// Polls a condition for ten seconds at most; returns whether it was met.
pub fn poll(mut is_so: impl FnMut() -> bool) -> bool {
    (0..1_000).any(|_| {
        is_so() || {
            thread::sleep(Duration::from_millis(10));
            false
        }
    })
}

/// The number after `name` in a line of `INFO`.
pub fn field(line: &str, name: &str) -> u64 {
    let value = line.split_once(name).map_or("", |(_, rest)| rest);
    let digits = value.split(|char: char| !char.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or_default()
}

/// The server that tests start.
fn program() -> String {
    env::var("RATELIMIT_REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned())
}

/// Returns true if tests are to start neither a server nor a browser.
fn is_without() -> bool {
    env::var_os("RATELIMIT_WITHOUT_SERVERS").is_some()
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

fn run(directory: &Path, port: u16, options: &[String]) -> Child {
    Command::new(program())
        .arg(directory.join(FILE))
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
        .args(["--daemonize", "no", "--dir"])
        .arg(directory)
        .args(options)
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server runs")
}

fn is_up(port: u16, process: &mut Child) -> bool {
    poll(|| {
        let is_gone = process.try_wait().is_ok_and(|status| status.is_some());
        let answer = cli(port, &["PING"]);
        is_gone || answer.contains("PONG") || answer.contains("NOAUTH")
    }) && process.try_wait().is_ok_and(|status| status.is_none())
}

fn cli(port: u16, command: &[&str]) -> String {
    let output = Command::new("redis-cli")
        .args(["-h", "127.0.0.1", "-p", &port.to_string()])
        .args(command)
        .output()
        .expect("redis-cli runs");
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("it is bound").port()
}

/// The configuration's name.
const FILE: &str = "server.conf";

const STARTS_MAX: usize = 10;
