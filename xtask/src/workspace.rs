//! The workspace's own files.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All of them whose names end so, in order.
pub(crate) fn files(extension: &str) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    collect(&root(), extension, &mut files).map_err(|error| format!("the sources: {error}"))?;
    files.sort();
    Ok(files)
}

fn collect(folder: &Path, extension: &str, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        if path.is_dir() {
            if name != "target" && !name.as_encoded_bytes().starts_with(b".") {
                collect(&path, extension, files)?;
            }
        } else if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    Ok(())
}

pub(crate) fn text(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The name of the package that a file belongs to; empty if it is nobody's.
pub(crate) fn package(path: &Path) -> String {
    let manifests = path.ancestors().map(|folder| fs::read_to_string(folder.join("Cargo.toml")));
    let mut lines = manifests
        .flatten()
        .flat_map(|manifest| manifest.lines().map(str::to_owned).collect::<Vec<_>>());
    let name = |line: String| Some(line.strip_prefix("name = \"")?.strip_suffix('"')?.to_owned());
    lines.find_map(name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_belongs_to_the_nearest_package() {
        let files = files("rs").unwrap();
        let package_of = |end| package(files.iter().find(|path| path.ends_with(end)).unwrap());
        assert_eq!(package_of("xtask/src/workspace.rs"), "xtask");
        assert_eq!(package_of("ratelimit-core/tests/promises/main.rs"), "ratelimit-core");
    }

    /// What a README shows is compiled and run by the crate beside it, and pages of the workspace
    /// by some crate; what the sources show is, unless it is told not to be.
    // FAULTS 204.
    #[test]
    fn every_example_in_the_documentation_is_a_test() {
        let sources: Vec<_> = files("rs").unwrap();
        let texts = sources.iter().map(|path| (path, text(path).unwrap())).collect::<Vec<_>>();
        for (path, text) in &texts {
            let mut fences = text.lines().map(str::trim_start).filter(|line| {
                line.starts_with("//") && line.contains("```") && line.contains("ignore")
            });
            assert_eq!(fences.next(), None, "{}", path.display());
        }
        for readme in files("md").unwrap() {
            if !text(&readme).unwrap().contains("```rust") {
                continue;
            }
            let folder = readme.parent().unwrap();
            let is_of_a_crate = folder.join("src").is_dir();
            let from_sources = if is_of_a_crate {
                "../README.md".to_owned()
            } else {
                format!("../../{}", readme.strip_prefix(root()).unwrap().display())
            };
            let include = format!("#[doc = include_str!(\"{from_sources}\")]");
            let is_of = |path: &Path| !is_of_a_crate || path.starts_with(folder);
            let is_run = texts.iter().any(|(path, text)| is_of(path) && text.contains(&include));
            assert!(is_run, "{}", readme.display());
        }
    }
}
