//! A test in a process of its own.

use std::{env, process::Command};

/// A command that runs this test program once more, for one test alone: `test`, in the module of
/// the path `module`, which is [`module_path!`] there. What the test prints is passed on.
///
/// How it can tell that it is run so, and what it is to do then, is best said in the environment.
///
/// ```
/// # let _ =
/// ratelimit_conformance::again(module_path!(), "what_is_printed").env("IS_CHILD", "")
/// # ;
/// ```
///
/// # Panics
///
/// If the system does not know where this program is.
#[must_use]
pub fn again(module: &str, test: &str) -> Command {
    // The harness leaves the name of the crate out.
    let path = match module.split_once("::") {
        None => test.to_owned(),
        Some((_, module)) => format!("{module}::{test}"),
    };
    let mut command = Command::new(env::current_exe().expect("a test is a program"));
    command.args(["--exact", &path, "--nocapture", "--quiet"]);
    command
}
