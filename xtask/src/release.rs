//! Checks before a release: that the published crates work with every feature, compiler and
//! dependency that they promise, that their packages are whole, and that their API has not changed
//! unannounced.

use std::fs;

use xtask::Arguments;

use crate::{
    cargo_tools::{HACK, LLVM_COV, PUBLIC_API},
    process::{cargo, output, run},
    programs, toolchain, workspace,
};

/// Every crate with every feature alone, with none, all, and any two: by itself, and in its tests;
/// these once more with the oldest dependencies that it says it takes. (The oldest compiler builds the
/// crates; some tests need a younger one.)
// FAULTS 198.
pub(crate) fn features(arguments: &Arguments) -> Result<(), String> {
    programs::find(arguments.has("--install"))?;
    toolchain::find("features")?;
    HACK.find(arguments)?;
    // There is no feature by default.
    let powerset = ["--feature-powerset", "--depth", "2", "--exclude-features", "default"];
    for command in ["check", "test"] {
        // A test may bring a feature with it that the crate lacks.
        run(cargo(&["hack", command]).args(powerset).args(named_packages()?))?;
    }
    msrv(arguments)?;
    with_oldest_dependencies()
}

/// Builds the published crates with the oldest compiler that they promise, without their tests.
pub(crate) fn msrv(arguments: &Arguments) -> Result<(), String> {
    HACK.find(arguments)?;
    run(cargo(&["hack", "check", "--rust-version", "--all-features"]).args(named_packages()?))
}

/// These are locked in a file of their own, so that the workspace's stays as it is.
fn with_oldest_dependencies() -> Result<(), String> {
    let folder = workspace::root().join("target/oldest");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let lock = format!("resolver.lockfile-path={:?}", folder.join("Cargo.lock"));
    let lock = ["--config", &lock];
    run(toolchain::cargo(&["update", "-Z", "direct-minimal-versions"]).args(lock))?;
    let mut tests = toolchain::cargo(&["test", "--all-features"]);
    tests.args(lock).arg("--target-dir").arg(folder).args(named_packages()?);
    run(&mut tests)
}

/// Shows which lines the tests reach, including the tests that run the examples, which `cargo llvm-cov
/// test` does not build.
pub(crate) fn coverage(arguments: &Arguments) -> Result<(), String> {
    programs::find(arguments.has("--install"))?;
    LLVM_COV.find(arguments)?;
    let folder = workspace::root().join("target/llvm-cov-target");
    let cargo = |arguments: &[&str]| {
        let mut command = cargo(arguments);
        command.env("CARGO_TARGET_DIR", &folder);
        command
    };
    let shown = output(&mut cargo(&["llvm-cov", "show-env"]))?;
    let environment = shown.lines().filter_map(|line| line.split_once('='));
    let environment = environment.map(|(name, value)| (name, value.trim_matches('\'')));
    run(cargo(&["llvm-cov", "clean", "--profraw-only"]).envs(environment.clone()))?;
    // A process that may not write anything cannot tell what it has reached.
    let skipped = ["--", "--skip", "what_takes_no_writes_is_read_only"];
    let mut tests = cargo(&["test", "--all-features"]);
    run(tests.args(named_packages()?).args(skipped).envs(environment.clone()))?;
    let report = ["llvm-cov", "report", "--summary-only", "--ignore-filename-regex"];
    run(cargo(&report).arg("xtask|/tests/").envs(environment))
}

/// Packs what is published, builds each from its package alone, and runs the tests that are in the
/// packages: their unit tests, and the examples of their docs.
pub(crate) fn package() -> Result<(), String> {
    run(cargo(&["package", "--allow-dirty"]).args(named_packages()?))?;
    let folder = workspace::target().join("package");
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    write("Cargo.toml", workspace_of_packages(&workspace::published()?))?;
    write("Cargo.lock", workspace::text(&workspace::root().join("Cargo.lock"))?)?;
    let manifest = folder.join("Cargo.toml");
    run(cargo(&["test", "--workspace", "--all-features", "--manifest-path"]).arg(manifest))
}

/// The manifest of a workspace of unpacked packages, which need no other one.
fn workspace_of_packages(packages: &[String]) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut manifest = "[workspace]\nresolver = \"3\"\nmembers = [\n".to_owned();
    for package in packages {
        manifest += &format!("    \"{package}-{version}\",\n");
    }
    manifest += "]\n\n[patch.crates-io]\n";
    for package in packages {
        manifest += &format!("{package} = {{ path = \"{package}-{version}\" }}\n");
    }
    manifest
}

fn named_packages() -> Result<Vec<String>, String> {
    let named = |name| ["--package".to_owned(), name];
    Ok(workspace::published()?.into_iter().flat_map(named).collect())
}

/// All that is public, compared with `docs/api`, a file a crate; `--write` renews these.
// FAULTS 200.
pub(crate) fn api(arguments: &Arguments) -> Result<(), String> {
    toolchain::find("api")?;
    PUBLIC_API.find(arguments)?;
    let mut is_unchanged = true;
    for package in workspace::published()? {
        let path = workspace::root().join(format!("docs/api/{package}.txt"));
        let found = public(&package)?;
        if arguments.has("--write") {
            let written = fs::write(&path, found);
            written.map_err(|error| format!("{}: {error}", path.display()))?;
        } else {
            is_unchanged &= print_changes(&package, &workspace::text(&path)?, &found);
        }
    }
    if is_unchanged {
        return Ok(());
    }
    Err("what is public has changed: announce it in the changelogs, and renew the files in\n\
         docs/api (cargo xtask api --write)"
        .to_owned())
}

/// A line for each public item of a package.
fn public(package: &str) -> Result<String, String> {
    output(&mut cargo(&["public-api", "--package", package, "--all-features", "-sss"]))
}

/// Prints the changes of a package; returns whether there are none.
fn print_changes(package: &str, told: &str, found: &str) -> bool {
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
    fn packages_are_a_workspace_that_takes_them_from_nowhere_else() {
        let version = env!("CARGO_PKG_VERSION");
        let manifest = workspace_of_packages(&["one".to_owned(), "two".to_owned()]);
        let expected = "[workspace]\nresolver = \"3\"\nmembers = [\n    \"one-V\",\n    \"two-V\",\n]\n\n\
                        [patch.crates-io]\none = { path = \"one-V\" }\ntwo = { path = \"two-V\" }\n";
        assert_eq!(manifest, expected.replace('V', version));
    }

    #[test]
    fn what_is_gone_and_what_is_new_is_told() {
        assert!(print_changes(
            "it",
            "pub fn one()\npub fn two()\n",
            "pub fn two()\npub fn one()\n"
        ));
        assert!(!print_changes("it", "pub fn one()\n", ""));
        assert!(!print_changes("it", "", "pub fn one()\n"));
    }
}
