//! What is asked of the published crates before they are: that they work with whatever they say that
//! they do, that their packages are whole, that no promise is broken unannounced.

use std::{fs, process::Stdio};

use crate::{USAGE, cargo, cargo_tools, programs, run, toolchain, workspace};

/// Every crate with every feature alone, with none, all, and any two: by itself, and in its tests;
/// these once more on the oldest compiler, and with the oldest dependencies, that it says it takes.
// FAULTS 198.
pub(crate) fn features() -> Result<(), String> {
    programs::find()?;
    toolchain::find("features")?;
    cargo_tools::find("features", "hack")?;
    // There is no feature by default.
    let powerset = ["--feature-powerset", "--depth", "2", "--exclude-features", "default"];
    for command in ["check", "test"] {
        // A test may bring a feature with it that the crate lacks.
        run(cargo(&["hack", command]).args(powerset).args(packages()?))?;
    }
    run(cargo(&["hack", "test", "--rust-version", "--all-features"]).args(packages()?))?;
    with_oldest_dependencies()
}

/// These are locked in a file of their own, so that the workspace's stays as it is.
fn with_oldest_dependencies() -> Result<(), String> {
    let folder = workspace::root().join("target/oldest");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let lock = format!("resolver.lockfile-path={:?}", folder.join("Cargo.lock"));
    let lock = ["--config", &lock];
    run(toolchain::cargo(&["update", "-Z", "direct-minimal-versions"]).args(lock))?;
    let mut tests = toolchain::cargo(&["test", "--all-features"]);
    tests.args(lock).arg("--target-dir").arg(folder).args(packages()?);
    // What a compiler says of misuse is compared with what the stable one says.
    run(tests.args(["--", "--skip", "misuse_is_refused_where_it_stands"]))
}

/// Which lines their tests reach, those that run the examples among them: which `cargo llvm-cov test`
/// does not build.
pub(crate) fn coverage() -> Result<(), String> {
    programs::find()?;
    cargo_tools::find("coverage", "llvm-cov")?;
    let folder = workspace::root().join("target/llvm-cov-target");
    let cargo = |arguments: &[&str]| {
        let mut command = cargo(arguments);
        command.env("CARGO_TARGET_DIR", &folder);
        command
    };
    let shown = cargo(&["llvm-cov", "show-env"]).output().map_err(|error| error.to_string())?;
    let shown = String::from_utf8_lossy(&shown.stdout);
    let environment = shown.lines().filter_map(|line| line.split_once('='));
    let environment = environment.map(|(name, value)| (name, value.trim_matches('\'')));
    run(cargo(&["llvm-cov", "clean", "--profraw-only"]).envs(environment.clone()))?;
    // A process that may not write anything cannot tell what it has reached.
    let skipped = ["--", "--skip", "what_takes_no_writes_is_read_only"];
    let mut tests = cargo(&["test", "--all-features"]);
    run(tests.args(packages()?).args(skipped).envs(environment.clone()))?;
    let report = ["llvm-cov", "report", "--summary-only", "--ignore-filename-regex"];
    run(cargo(&report).arg("xtask|/tests/").envs(environment))
}

/// Packs what is published, and builds each from its package alone.
pub(crate) fn package() -> Result<(), String> {
    run(cargo(&["package", "--allow-dirty"]).args(packages()?))
}

fn packages() -> Result<Vec<String>, String> {
    let named = |name| ["--package".to_owned(), name];
    Ok(workspace::published()?.into_iter().flat_map(named).collect())
}

/// All that is public, compared with `docs/api`, a file a crate; `--write` renews these.
// FAULTS 200.
pub(crate) fn api(arguments: &[String]) -> Result<(), String> {
    let is_to_write = match arguments {
        [] => false,
        [argument] if argument == "--write" => true,
        _ => return Err(USAGE.to_owned()),
    };
    toolchain::find("api")?;
    cargo_tools::find("api", "public-api")?;
    let mut is_as_told = true;
    for package in workspace::published()? {
        let path = workspace::root().join(format!("docs/api/{package}.txt"));
        let found = public(&package)?;
        if is_to_write {
            let written = fs::write(&path, found);
            written.map_err(|error| format!("{}: {error}", path.display()))?;
        } else {
            is_as_told &= tell_changes(&package, &workspace::text(&path)?, &found);
        }
    }
    if is_as_told {
        return Ok(());
    }
    Err("what is public has changed: announce it in the changelogs, and renew the files in\n\
         docs/api (cargo xtask api --write)"
        .to_owned())
}

/// A line for each public item of a package.
fn public(package: &str) -> Result<String, String> {
    let mut list = cargo(&["public-api", "--package", package, "--all-features", "-sss"]);
    let output = list.stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("cargo cannot be run: {error}"))?;
    if !output.status.success() {
        return Err(format!("{list:?} failed"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether there are none.
fn tell_changes(package: &str, told: &str, found: &str) -> bool {
    let missing = |line: &&str, text: &str| !text.lines().any(|other| other == *line);
    let gone = told.lines().filter(|line| missing(line, found)).map(|line| ("gone", line));
    let new = found.lines().filter(|line| missing(line, told)).map(|line| ("new", line));
    let changes: Vec<_> = gone.chain(new).collect();
    for (what, line) in &changes {
        println!("{package}: {what}: {line}");
    }
    changes.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_and_what_is_new_is_told() {
        assert!(tell_changes("it", "pub fn one()\npub fn two()\n", "pub fn two()\npub fn one()\n"));
        assert!(!tell_changes("it", "pub fn one()\n", ""));
        assert!(!tell_changes("it", "", "pub fn one()\n"));
    }
}
