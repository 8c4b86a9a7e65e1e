//! The programs that tests start for themselves: here they are found, or installed.

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

/// What becomes of the tests without it.
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
        what_to_do: "install it for the tests of the demo's page (Debian: apt-get install chromium)",
        without: Without::Skip,
    },
    Program {
        name: "chromedriver",
        package: "chromium-driver",
        what_to_do: "install it for the tests of the demo's page (Debian: apt-get install chromium-driver)",
        without: Without::Skip,
    },
];

/// Makes sure that what the tests start is on the path, installing Debian's if need be.
///
/// # Errors
///
/// If there is something missing that tests cannot go without; with what to do about it.
pub(crate) fn find() -> Result<(), String> {
    let missing: Vec<_> = PROGRAMS.iter().filter(|it| version(it.name).is_none()).collect();
    if !missing.is_empty() {
        let packages: Vec<_> = missing.iter().map(|program| program.package).collect();
        install(&packages.join(" "));
    }
    PROGRAMS.iter().try_for_each(tell)
}

/// Looks for what some rows of the bench need, and says what is left out without it.
pub(crate) fn find_for_bench() {
    for program in ["redis-server", "wrk"] {
        if version(program).is_none() {
            install(program);
        }
        if version(program).is_none() {
            println!("{program} could not be installed: the rows that need it are left out");
        }
    }
}

fn install(packages: &str) {
    println!("not on the path, so installing Debian's: {packages}");
    // One by one, since what one Debian does not have is not to keep the rest away.
    let install = format!(
        "(apt-get update; for package in {packages}; do apt-get install --yes $package; done) >&2"
    );
    let sudo = if is_root() { "" } else { "sudo --non-interactive " };
    let _ = Command::new("sh").arg("-c").arg(format!("{sudo}sh -c '{install}'")).status();
}

fn tell(program: &Program) -> Result<(), String> {
    let Program { name, what_to_do, without, .. } = program;
    match (version(name), without) {
        (Some(version), _) => println!("tests use {version}"),
        (None, Without::Skip) => println!("{name} could not be installed; {what_to_do}"),
        (None, Without::Fail) => {
            return Err(format!(
                "the tests need {name}, which could not be installed;\n{what_to_do}\n\
                 and run this again"
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
