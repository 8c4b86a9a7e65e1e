//! The programs that tests and benches start: here they are found, or installed.

use std::{
    env,
    process::{Command, Stdio},
};

struct Program {
    name: &'static str,
    /// Of Debian.
    package: &'static str,
    what_to_do: &'static str,
    without: Without,
}

/// The effect of its absence on the tests.
#[derive(Clone, Copy)]
enum Without {
    Fail,
    /// Those that need it say so, and are skipped, except in CI.
    Skip,
}

const PROGRAMS: [Program; 3] = [
    Program {
        name: "redis-server",
        package: "redis-server",
        what_to_do: "install it, 6.2 or later (Debian: apt-get install redis-server, macOS: brew install redis)",
        without: Without::Fail,
    },
    Program {
        name: "chromium",
        package: "chromium",
        what_to_do: "install it for the tests of pages (Debian: apt-get install chromium)",
        without: Without::Skip,
    },
    Program {
        name: "chromedriver",
        package: "chromium-driver",
        what_to_do: "install it for the tests of pages (Debian: apt-get install chromium-driver)",
        without: Without::Skip,
    },
];

/// Makes sure that the programs that tests start are on the path; installs Debian's where
/// `is_to_install`, or where this runs as root.
///
/// # Errors
///
/// If a program is missing that tests cannot go without; with the command that installs it.
pub(crate) fn find(is_to_install: bool) -> Result<(), String> {
    let missing: Vec<_> = PROGRAMS.iter().filter(|it| version(it.name).is_none()).collect();
    let packages: Vec<_> = missing.iter().map(|program| program.package).collect();
    install(&packages, is_to_install);
    PROGRAMS.iter().try_for_each(report)
}

/// Looks for the programs that some rows of the bench need, and names those that are missing.
pub(crate) fn find_for_bench(is_to_install: bool) {
    let is_missing = |program: &&str| version(program).is_none();
    let programs = ["redis-server", "wrk"].into_iter();
    install(&programs.clone().filter(is_missing).collect::<Vec<_>>(), is_to_install);
    for program in programs.filter(is_missing) {
        eprintln!("{program} is not on the path: the rows that need it are left out");
    }
}

/// Installs packages of Debian one by one, since one that is not there must not stop the others.
fn install(packages: &[&str], is_to_install: bool) {
    if packages.is_empty() || !(is_to_install || is_root()) {
        return;
    }
    let packages = packages.join(" ");
    let sudo = if is_root() { "" } else { "sudo --non-interactive " };
    eprintln!("not on the path, so installing them with {sudo}apt-get install: {packages}");
    let install = format!(
        "(apt-get update; for package in {packages}; do apt-get install --yes $package; done) >&2"
    );
    let _ = Command::new("sh").arg("-c").arg(format!("{sudo}sh -c '{install}'")).status();
}

fn report(program: &Program) -> Result<(), String> {
    let Program { name, what_to_do, without, .. } = program;
    match (version(name), without) {
        (Some(version), _) => println!("tests use {version}"),
        (None, Without::Skip) => {
            println!("{name} is not on the path, so some tests are skipped: {what_to_do}")
        }
        (None, Without::Fail) => {
            return Err(format!(
                "the tests need {name}, which is not on the path:\n{what_to_do},\n\
                 or run this again with --install"
            ));
        }
    }
    Ok(())
}

fn version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").stderr(Stdio::null()).output().ok()?;
    String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
}

fn is_root() -> bool {
    env::var_os("USER").is_some_and(|user| user == "root")
        || Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.starts_with(b"0\n"))
}
