//! The workspace's own files.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The folder that cargo builds into.
pub(crate) fn target() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| root().join("target"))
}

/// Returns all files of the workspace whose names end so, in order.
pub(crate) fn files(extension: &str) -> Result<Vec<PathBuf>, String> {
    files_in(&root(), extension)
}

/// Returns all files below `folder` whose names end so, in order.
pub(crate) fn files_in(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    let collected = collect(folder, extension, &mut files);
    collected.map_err(|error| format!("{}: {error}", folder.display()))?;
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

/// Returns the `src` folder of each package of the workspace.
pub(crate) fn source_folders() -> Result<Vec<PathBuf>, String> {
    let manifests = files("toml")?.into_iter().filter(|path| path.ends_with("Cargo.toml"));
    let folders = manifests.filter_map(|path| Some(path.parent()?.join("src")));
    Ok(folders.filter(|folder| folder.is_dir()).collect())
}

/// Returns the path of a file as seen from the root.
pub(crate) fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Returns a source without its unit tests.
pub(crate) fn code(text: &str) -> &str {
    text.split_once("\n#[cfg(test)]\nmod tests {").map_or(text, |(code, _)| code)
}

pub(crate) fn text(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The name of the package that a file belongs to; empty if it is nobody's.
pub(crate) fn package(path: &Path) -> String {
    let manifests = path.ancestors().map(|folder| fs::read_to_string(folder.join("Cargo.toml")));
    manifests.flatten().find_map(|manifest| name(&manifest)).unwrap_or_default()
}

/// Returns the names of all packages.
pub(crate) fn packages() -> Result<Vec<String>, String> {
    packages_where(|_| true)
}

/// Returns the names of the packages that are published: their manifests do not say otherwise.
pub(crate) fn published() -> Result<Vec<String>, String> {
    packages_where(|manifest| !manifest.lines().any(|line| line == "publish = false"))
}

fn packages_where(is_wanted: impl Fn(&str) -> bool) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    for path in files("toml")?.iter().filter(|path| path.ends_with("Cargo.toml")) {
        let manifest = text(path)?;
        if is_wanted(&manifest) {
            names.extend(name(&manifest));
        }
    }
    Ok(names)
}

/// The first name in a manifest is the package's; the workspace's has none.
fn name(manifest: &str) -> Option<String> {
    let name = |line: &str| Some(line.strip_prefix("name = \"")?.strip_suffix('"')?.to_owned());
    manifest.lines().find_map(name)
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

    /// A package alone has its description, its licences and its changes.
    #[test]
    fn published_packages_say_what_they_are_and_on_which_terms() {
        let published = published().unwrap();
        assert!(published.iter().any(|name| name == "ratelimit-macros"));
        assert!(!published.iter().any(|name| name.starts_with("xtask")));
        for path in files("toml").unwrap().iter().filter(|path| path.ends_with("Cargo.toml")) {
            if !published.contains(&package(path)) {
                continue;
            }
            let (manifest, folder) = (text(path).unwrap(), path.parent().unwrap());
            for field in SAID {
                assert!(manifest.contains(&format!("\n{field}")), "{field}: {}", path.display());
            }
            for file in ["CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "README.md"] {
                assert!(folder.join(file).is_file(), "{file}: {}", path.display());
            }
        }
    }

    const SAID: [&str; 9] = [
        "description = ",
        "version.workspace",
        "rust-version",
        "license.workspace",
        "repository.workspace",
        "categories",
        "keywords",
        "readme = ",
        "[package.metadata.docs.rs]",
    ];

    /// Cargo leaves out dependencies that are known by their paths alone.
    #[test]
    fn packages_ship_no_tests_that_need_the_workspace() {
        let published = published().unwrap();
        for path in files("toml").unwrap().iter().filter(|path| path.ends_with("Cargo.toml")) {
            let manifest = text(path).unwrap();
            let needs = ["ratelimit-servers.workspace", "{ path = "];
            if published.contains(&package(path)) && needs.iter().any(|it| manifest.contains(it)) {
                let leaves_out = manifest.lines().find(|line| line.starts_with("exclude = "));
                assert!(leaves_out.is_some_and(|it| it.contains("/tests")), "{}", path.display());
            }
        }
    }

    /// A test is a function, or a line of a macro that makes one.
    #[test]
    fn the_tests_that_pages_name_are_there() {
        let sources = files("rs").unwrap();
        let texts: Vec<_> = sources.iter().map(|path| text(path).unwrap()).collect();
        let is_there = |name: &str| {
            let [function, line] = [format!("fn {name}("), format!("    {name}: ")];
            texts.iter().any(|text| text.contains(&function) || text.contains(&line))
        };
        let mut pages = files_in(&root().join("docs/mutations"), "md").unwrap();
        pages.push(root().join("docs/comparison.md"));
        for path in pages {
            let page = text(&path).unwrap();
            let rows = page.lines().filter(|line| line.starts_with('|'));
            let quoted = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
            for name in quoted.filter(|name| 3 < name.matches('_').count()) {
                assert!(is_there(name), "{}: {name}", path.display());
            }
        }
    }

    #[test]
    fn each_dependency_has_its_reason_told_once() {
        let manifest = text(&root().join("Cargo.toml")).unwrap();
        let mut lines = manifest.lines().skip_while(|line| *line != "[workspace.dependencies]");
        let lines = lines.by_ref().skip(1).take_while(|line| !line.starts_with('['));
        let names = lines.filter_map(|line| Some(line.split_once(" = ")?.0));
        let is_ours = |name: &str| name.starts_with("ratelimit-") || name == "xtask";
        let mut wanted: Vec<_> = names.filter(|name| !is_ours(name)).collect();
        let page = text(&root().join("docs/dependencies.md")).unwrap();
        let rows =
            page.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0));
        let mut found: Vec<_> = rows.collect();
        wanted.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, wanted);
    }

    /// A repository page and a registry page show every line of an example, so an example hides none.
    #[test]
    fn no_example_in_markdown_has_hidden_lines() {
        for page in files("md").unwrap() {
            let (mut is_rust, text) = (false, text(&page).unwrap());
            for line in text.lines() {
                is_rust =
                    if line.starts_with("```") { line.starts_with("```rust") } else { is_rust };
                let is_hidden = is_rust && (line == "#" || line.starts_with("# "));
                assert!(!is_hidden, "{}: {line}", page.display());
            }
        }
    }

    /// The examples of a README are compiled and run by the crate beside it, those of the workspace's
    /// pages by some crate, and those of the sources unless they are ignored.
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
                format!("../../../{}", readme.strip_prefix(root()).unwrap().display())
            };
            let include = format!("#[doc = include_str!(\"{from_sources}\")]");
            let is_of = |path: &Path| !is_of_a_crate || path.starts_with(folder);
            let is_run = texts.iter().any(|(path, text)| is_of(path) && text.contains(&include));
            assert!(is_run, "{}", readme.display());
        }
    }
}
