//! The result of each test of a run, read from what the run prints; and of each command, from its
//! last run.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::{self, BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::workspace;

/// The result of a test or a command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    Passed,
    Failed,
    NotRun,
}

/// The results of all tests, by their names without modules.
#[derive(Debug, Default)]
pub(crate) struct TestResults(BTreeMap<String, Outcome>);

impl TestResults {
    /// Runs the tests, and shows what they print; also returns whether all succeeded.
    ///
    /// # Errors
    ///
    /// If there is nothing to run.
    pub(crate) fn of_run(tests: &mut Command) -> Result<(Self, bool), String> {
        let cannot = |error| format!("cargo cannot be run: {error}");
        let mut run = tests.stdout(Stdio::piped()).spawn().map_err(cannot)?;
        let mut results = Self::default();
        let mut printed = BufReader::new(run.stdout.take().ok_or("there is no output")?);
        let mut line = Vec::new();
        while 0 < printed.read_until(b'\n', &mut line).map_err(cannot)? {
            let text = String::from_utf8_lossy(&line);
            print!("{text}");
            results.note(text.trim_end());
            line.clear();
        }
        Ok((results, run.wait().map_err(cannot)?.success()))
    }

    /// Returns the worst result of the tests of that name.
    pub(crate) fn of(&self, name: &str) -> Outcome {
        self.0.get(name).copied().unwrap_or(Outcome::NotRun)
    }

    fn count(&self, outcome: Outcome) -> usize {
        self.0.values().filter(|&&found| found == outcome).count()
    }

    /// `test module::name ... ok`.
    fn note(&mut self, line: &str) {
        let Some((test, end)) = line.strip_prefix("test ").and_then(|it| it.split_once(" ... "))
        else {
            return;
        };
        let name = test.rsplit("::").next().unwrap_or(test);
        let outcome = match end {
            "ok" if self.of(name) != Outcome::Failed => Outcome::Passed,
            "ok" | "FAILED" => Outcome::Failed,
            _ => return,
        };
        self.0.insert(name.to_owned(), outcome);
    }
}

/// Shows how many have passed and failed.
impl fmt::Display for TestResults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [passed, failed] = [Outcome::Passed, Outcome::Failed].map(|it| self.count(it));
        write!(f, "{passed} passed, {failed} failed")
    }
}

/// Keeps the result of a command.
pub(crate) fn keep(command: &str, is_done: bool) -> io::Result<()> {
    let outcome = if is_done { Outcome::Passed } else { Outcome::Failed };
    let path = kept(command);
    fs::create_dir_all(path.parent().unwrap_or(&path))?;
    fs::write(path, outcome.to_string())
}

/// Returns the result of a command's last run in this copy of the workspace.
pub(crate) fn of_command(command: &str) -> Outcome {
    match fs::read_to_string(kept(command)).as_deref() {
        Ok("passed") => Outcome::Passed,
        Ok("failed") => Outcome::Failed,
        _ => Outcome::NotRun,
    }
}

fn kept(command: &str) -> PathBuf {
    workspace::root().join("target/commands").join(command)
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NotRun => "not run",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_tests_are_told_from_others_and_the_worst_counts() {
        let mut results = TestResults::default();
        for line in [
            "running 3 tests",
            "test a::good ... ok",
            "test b::bad ... FAILED",
            "test c::bad ... ok",
            "test left_out ... ignored",
            "test result: FAILED. 2 passed; 1 failed",
        ] {
            results.note(line);
        }
        let found = ["good", "bad", "left_out"].map(|name| results.of(name));
        assert_eq!(found, [Outcome::Passed, Outcome::Failed, Outcome::NotRun]);
    }
}
