//! One list names the algorithms: nothing outside of it, and of their own files, tells them apart.

use std::{
    fs,
    path::{Path, PathBuf},
};

#[test]
fn no_code_outside_of_the_list_names_an_algorithm() {
    let found: Vec<_> = FOLDERS.iter().flat_map(|folder| sources(&root().join(folder))).collect();
    assert!(50 < found.len(), "{found:?}");
    let named: Vec<_> = found.iter().flat_map(|file| named_in(file)).collect();
    assert!(named.is_empty(), "an eighth algorithm would have to be added here: {named:#?}");
}

/// The crates that work with any algorithm.
const FOLDERS: [&str; 6] = [
    "ratelimit-core/src",
    "ratelimit-backends",
    "ratelimit-http/src",
    "ratelimit-http/actix/src",
    "ratelimit-metrics/src",
    "ratelimit-metrics/simulate/src",
];

/// The variants of `Algorithm`, `Detail` and the core's `State`.
const VARIANTS: [&str; 7] = [
    "FixedWindow",
    "SlidingWindowLog",
    "SlidingWindowCounter",
    "TokenBucket",
    "LeakyBucket",
    "Adaptive",
    "InFlight",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The source files in a folder, but for tests, examples and the folder of the list.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let skipped = ["algorithm", "tests", "examples", "benches", "target"];
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder can be listed") {
        let path = entry.expect("an entry has a path").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !skipped.contains(&&*name) {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The lines of code that name a variant.
fn named_in(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).expect("a source file can be read");
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let names = |line: &&str| {
        let is_variant = |word: &str| {
            let name = word.split(|letter: char| !letter.is_alphanumeric()).next();
            VARIANTS.contains(&name.unwrap_or_default())
        };
        line.split("::").skip(1).any(is_variant)
    };
    lines.filter(names).map(|line| format!("{}: {}", file.display(), line.trim())).collect()
}
