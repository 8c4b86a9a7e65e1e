//! Child processes: cargo and other programs.

use std::{
    env,
    process::{Command, Stdio},
};

/// Returns a command of the cargo that runs this.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    command
}

/// Runs a command, which has to succeed.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let status = command.status().map_err(|error| cannot_run(command, &error))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} failed")) }
}

/// Becomes that command, so that a signal to this process reaches it.
#[cfg(unix)]
pub(crate) fn exec(command: &mut Command) -> Result<(), String> {
    let error = std::os::unix::process::CommandExt::exec(command);
    Err(cannot_run(command, &error))
}

/// Runs a command, which has to succeed.
#[cfg(not(unix))]
pub(crate) fn exec(command: &mut Command) -> Result<(), String> {
    run(command)
}

/// Runs a command, which has to succeed, and returns what it prints.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| cannot_run(command, &error))?;
    if !output.status.success() {
        return Err(format!("{command:?} failed"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Returns whether a command succeeds, without showing what it prints.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn cannot_run(command: &Command, error: &std::io::Error) -> String {
    format!("{} cannot be run: {error}", command.get_program().display())
}
