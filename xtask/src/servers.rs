//! The servers that tests start for themselves: here they are found, or installed.

use std::{
    env,
    process::{Command, Stdio},
};

/// Makes sure that there is a `redis-server` on the path, installing Debian's if need be.
///
/// # Errors
///
/// If there is none and it cannot be installed; with what to do about it.
pub(crate) fn find_redis() -> Result<(), String> {
    if let Some(version) = version("redis-server") {
        println!("tests use {version}");
        return Ok(());
    }
    println!("redis-server is not on the path; installing Debian's");
    let install = "(apt-get update && apt-get install --yes redis-server) >&2";
    let sudo = if is_root() { "" } else { "sudo --non-interactive " };
    let _ = Command::new("sh").arg("-c").arg(format!("{sudo}sh -c '{install}'")).status();
    match version("redis-server") {
        Some(version) => {
            println!("tests use {version}");
            Ok(())
        }
        None => Err("the tests need redis-server 6.2 or later, which could not be installed;\n\
             install it (Debian: apt-get install redis-server, macOS: brew install redis)\n\
             and run this again"
            .to_owned()),
    }
}

fn version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").stderr(Stdio::null()).output().ok()?;
    String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
}

fn is_root() -> bool {
    env::var_os("USER").is_some_and(|user| user == "root")
        || Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.starts_with(b"0\n"))
}
