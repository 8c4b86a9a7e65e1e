//! The other process: this test binary once more, told by its environment what to do.

use std::{
    env,
    io::{Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use ratelimit_conformance::subprocess;
use ratelimit_sqlite::{SqliteSettings, Synchronous};
use rusqlite::Connection;

use crate::store_under_test::{A_MINUTE, limiter};

/// A command that runs `role` on `file` in another process. What it prints is its report.
pub(crate) fn child(role: &str, file: &Path) -> Command {
    let mut command = subprocess(module_path!(), "plays_its_role");
    command.env("RATELIMIT_CHILD", role).env("RATELIMIT_FILE", file);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Runs `role` on `file` in another process, which a shell prepares, and waits for its end.
#[cfg(unix)]
pub(crate) fn in_shell(preparation: &str, role: &str, file: &Path) -> std::process::Output {
    let role = child(role, file);
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!(r#"{preparation}; exec "$0" "$@""#)]).arg(role.get_program());
    shell.args(role.get_args()).stdout(Stdio::null()).stderr(Stdio::piped());
    shell.envs(role.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.output().unwrap()
}

/// Another process that holds the write lock of a file, until it is let go.
pub(crate) struct Holder(Child);

impl Holder {
    pub(crate) fn new(file: &Path) -> Self {
        let mut child = child("hold", file).stdin(Stdio::piped()).spawn().unwrap();
        let mut report = [0];
        child.stderr.as_mut().unwrap().read_exact(&mut report).unwrap();
        Self(child)
    }

    /// Returns when the lock is free.
    pub(crate) fn let_go(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

/// A test that fails does not leave it behind.
impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Does nothing in a run of all tests.
#[test]
fn plays_its_role() {
    let (Ok(role), Some(file)) = (env::var("RATELIMIT_CHILD"), env::var_os("RATELIMIT_FILE"))
    else {
        return;
    };
    let settings = SqliteSettings::file(&file).with_deadline(A_MINUTE);
    match role.split(' ').collect::<Vec<_>>()[..] {
        ["spend", checks, limit] => spend(settings, parse(checks), parse(limit)),
        ["endless", "normal"] => endless(settings),
        ["endless", "full"] => endless(settings.with_synchronous(Synchronous::Full)),
        ["open"] => open(settings),
        ["hold"] => hold(Path::new(&file)),
        #[cfg(unix)]
        ["fill"] => crate::space::fill(settings),
        #[cfg(unix)]
        ["modes"] => crate::unix_files::modes(settings, Path::new(&file)),
        _ => panic!("no such role: {role}"),
    }
}

/// Spends, and reports how many were admitted.
fn spend(settings: SqliteSettings, checks: u64, limit: u64) {
    let limiter = limiter(&settings.open().unwrap(), limit);
    let admitted = (0..checks).filter(|_| limiter.check("key").now().unwrap().is_allowed()).count();
    eprint!("{admitted}");
}

/// Spends in several threads until it is killed, and reports each permit by one byte.
fn endless(settings: SqliteSettings) {
    let limiter = limiter(&settings.open().unwrap(), u64::from(u32::MAX));
    thread::scope(|scope| {
        for _ in 0..ENDLESS_THREADS {
            scope.spawn(|| {
                while limiter.check("key").now().unwrap().is_allowed() {
                    std::io::stderr().write_all(b".").unwrap();
                }
            });
        }
    });
}

/// Opens, however long the others take, and reports what kind of error there is.
fn open(settings: SqliteSettings) {
    match settings.open() {
        Ok(_) => eprint!("opened"),
        Err(error) => eprint!("{:?}", error.kind()),
    }
}

/// Holds the write lock, and reports that it does, until nobody is there to let it go.
fn hold(file: &Path) {
    let connection = Connection::open(file).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    eprint!(".");
    let _ = std::io::stdin().read(&mut [0]);
    connection.execute_batch("ROLLBACK").unwrap();
}

fn parse(number: &str) -> u64 {
    number.parse().unwrap()
}

/// Threads of one child that spend at once.
pub(crate) const ENDLESS_THREADS: u64 = 4;
