//! A server behind a password, with somebody who writes down what it is told.

use std::{
    fs::{self, File},
    process::{Child, Command, Stdio},
};

use ratelimit_servers::{Server, poll};
use tempfile::TempDir;

/// A server that is watched.
pub(crate) struct Watched {
    server: Server,
    monitor: Child,
    password: &'static str,
    notes: TempDir,
}

impl Watched {
    /// `None`, and says why, where there is no `redis-server`.
    pub(crate) fn start(password: &'static str) -> Option<Self> {
        let server = Server::start(&["--requirepass", password, "--rdbcompression", "no"])?;
        let notes = tempfile::tempdir().unwrap();
        let told = notes.path().join("told");
        let mut monitor = cli(&server, password);
        monitor.arg("MONITOR").stdout(File::create(&told).unwrap()).stderr(Stdio::null());
        let monitor = monitor.spawn().unwrap();
        assert!(poll(|| fs::read(&told).is_ok_and(|told| told.starts_with(b"OK"))), "it watches");
        Some(Self { server, monitor, password, notes })
    }

    pub(crate) fn port(&self) -> u16 {
        self.server.port
    }

    /// All commands so far, then all keys and values.
    pub(crate) fn told_and_kept(&self) -> Vec<u8> {
        let kept = self.notes.path().join("kept");
        let copied = cli(&self.server, self.password).arg("--rdb").arg(&kept).output().unwrap();
        assert!(copied.status.success(), "{copied:?}");
        let told = self.notes.path().join("told");
        assert!(poll(|| fs::read_to_string(&told).is_ok_and(|told| told.contains("EVAL"))));
        [fs::read(told).unwrap(), fs::read(kept).unwrap()].concat()
    }

    pub(crate) fn kill(&mut self) {
        self.server.kill();
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.monitor.kill();
        let _ = self.monitor.wait();
    }
}

fn cli(server: &Server, password: &str) -> Command {
    let mut cli = Command::new("redis-cli");
    cli.args(["-h", "127.0.0.1", "-p", &server.port.to_string()]);
    cli.args(["-a", password, "--no-auth-warning"]);
    cli
}
