//! Files can be read in some order: no two of a crate import each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

#[test]
fn no_two_files_of_a_crate_import_each_other() {
    let known: BTreeSet<_> = KNOWN.iter().map(|pair| pair.map(str::to_owned)).collect();
    let found: BTreeSet<_> = crates().iter().flat_map(|source| pairs(source)).collect();
    let new: Vec<_> = found.difference(&known).collect();
    assert!(new.is_empty(), "these import each other: {new:#?}");
}

/// The pairs that are still to be parted.
const KNOWN: [[&str; 2]; 4] = [
    ["ratelimit-algorithms/src/asking.rs", "ratelimit-algorithms/src/async_limiter.rs"],
    [
        "ratelimit-backends/conformance/src/subject.rs",
        "ratelimit-backends/conformance/src/suite.rs",
    ],
    ["xtask/bench/src/bench.rs", "xtask/bench/src/sample.rs"],
    ["xtask/src/nightly.rs", "xtask/src/tools.rs"],
];

/// The folder of the workspace.
fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize().expect("the workspace is there")
}

/// The source folders of all crates.
fn crates() -> Vec<PathBuf> {
    let mut sources = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        if folder.join("Cargo.toml").exists() && folder.join("src").exists() {
            sources.push(folder.join("src"));
        }
        for entry in fs::read_dir(&folder).expect("a folder can be listed") {
            let path = entry.expect("an entry has a path").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && !["src", "target"].contains(&&*name) {
                folders.push(path);
            }
        }
    }
    assert!(10 < sources.len(), "{sources:?}");
    sources
}

/// The files of a crate that import each other, as paths below the folder of the workspace.
fn pairs(source: &Path) -> Vec<[String; 2]> {
    let modules = modules(source);
    let parsed: BTreeMap<_, _> = modules
        .iter()
        .map(|(module, path)| (module.clone(), Uses::of(path, module, &modules)))
        .collect();
    let mut imports = BTreeSet::new();
    for (module, uses) in &parsed {
        for path in &uses.imports {
            let target = resolve(path, &modules, &parsed, 0);
            if target != *module {
                imports.insert((module.clone(), target));
            }
        }
    }
    let name = |module: &Module| {
        let path = modules[module].strip_prefix(root()).expect("a source of the workspace");
        path.display().to_string()
    };
    let both = imports
        .iter()
        .filter(|(one, other)| one < other && imports.contains(&(other.clone(), one.clone())));
    both.map(|(one, other)| [name(one), name(other)]).collect()
}

/// The path of a module, without `crate`.
type Module = Vec<String>;

/// The modules that have a file, and that file.
fn modules(source: &Path) -> BTreeMap<Module, PathBuf> {
    let mut modules = BTreeMap::new();
    let mut folders = vec![(Vec::new(), source.to_owned())];
    while let Some((module, folder)) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder can be listed") {
            let path = entry.expect("an entry has a path").path();
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && stem != "bin" {
                folders.push(([&module[..], &[stem]].concat(), path));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let is_own =
                    stem == "mod" || module.is_empty() && ["lib", "main"].contains(&&*stem);
                let module = if is_own { module.clone() } else { [&module[..], &[stem]].concat() };
                modules.insert(module, path);
            }
        }
    }
    modules
}

/// The file that a path leads to: re-exports are followed, and are no imports themselves.
fn resolve(
    path: &[String],
    modules: &BTreeMap<Module, PathBuf>,
    uses: &BTreeMap<Module, Uses>,
    depth: usize,
) -> Module {
    let mut module = Module::new();
    for (index, name) in path.iter().enumerate() {
        let child = [&module[..], std::slice::from_ref(name)].concat();
        if modules.contains_key(&child) {
            module = child;
            continue;
        }
        let exported = uses.get(&module).and_then(|uses| uses.exports.get(name));
        return match exported {
            Some(target) if depth < 8 => {
                let path = [&target[..], &path[index + 1..]].concat();
                resolve(&path, modules, uses, depth + 1)
            }
            _ => module,
        };
    }
    module
}

/// The paths within the crate that a file uses.
#[derive(Default)]
struct Uses {
    imports: Vec<Module>,
    /// The names that it exports, and their paths.
    exports: BTreeMap<String, Module>,
}

impl Uses {
    fn of(path: &Path, module: &Module, modules: &BTreeMap<Module, PathBuf>) -> Self {
        let text = fs::read_to_string(path).expect("a source can be read");
        let tokens = without_tests(tokens(&text));
        let mut uses = Self::default();
        let absolute = |path: &[String]| {
            let (first, rest) = path.split_first()?;
            match &**first {
                "crate" => Some(rest.to_vec()),
                "self" => Some([&module[..], rest].concat()),
                "super" => {
                    let up = 1 + rest.iter().take_while(|name| *name == "super").count();
                    let parent = module.get(..module.len().checked_sub(up)?)?;
                    Some([parent, &rest[up - 1..]].concat())
                }
                name => {
                    let child = [&module[..], &[name.to_owned()]].concat();
                    modules.contains_key(&child).then(|| [&module[..], path].concat())
                }
            }
        };
        let mut at = 0;
        while at < tokens.len() {
            // What `use<…>` captures is no path.
            if tokens[at] == "use" && tokens.get(at + 1).is_some_and(|next| next != "<") {
                let is_export =
                    at.checked_sub(1).is_some_and(|at| ["pub", ")"].contains(&&*tokens[at]));
                let mut paths = Vec::new();
                at = tree(&tokens, at + 1, &[], &mut paths);
                for (path, name) in paths {
                    let Some(path) = absolute(&path) else { continue };
                    if is_export {
                        uses.exports.insert(name, path);
                    } else {
                        uses.imports.push(path);
                    }
                }
            } else if ["crate", "super", "self"].contains(&&*tokens[at])
                && tokens.get(at + 1).is_some_and(|next| next == "::")
            {
                let mut path = vec![tokens[at].clone()];
                while tokens.get(at + 1).is_some_and(|next| next == "::")
                    && tokens.get(at + 2).is_some_and(|name| is_name(name))
                {
                    at += 2;
                    path.push(tokens[at].clone());
                }
                uses.imports.extend(absolute(&path));
                at += 1;
            } else {
                at += 1;
            }
        }
        uses
    }
}

/// Reads the paths of a `use`, each with the name that it goes by; returns the end.
fn tree(
    tokens: &[String],
    mut at: usize,
    before: &[String],
    paths: &mut Vec<(Module, String)>,
) -> usize {
    let mut path = before.to_vec();
    while let Some(token) = tokens.get(at) {
        match &**token {
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    at = tree(tokens, at, &path, paths);
                    if tokens.get(at).is_some_and(|token| token == ",") {
                        at += 1;
                    }
                }
                return at + 1;
            }
            "," | "}" | ";" => break,
            "as" => {
                let name = tokens.get(at + 1).cloned().unwrap_or_default();
                paths.push((path, name));
                return at + 2;
            }
            "self" if !path.is_empty() => {}
            name if is_name(name) => path.push(name.to_owned()),
            _ => {}
        }
        at += 1;
    }
    let name = path.last().cloned().unwrap_or_default();
    paths.push((path, name));
    at
}

fn is_name(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Leaves out the unit tests, which may look at anything.
fn without_tests(tokens: Vec<String>) -> Vec<String> {
    let start = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
    let found = tokens.windows(start.len()).position(|window| window == start);
    tokens.into_iter().take(found.unwrap_or(usize::MAX)).collect()
}

/// Names and signs, without comments, strings and characters.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if first == '"' {
            string(rest)
        } else if rest.starts_with("r#\"") {
            rest.find("\"#").map_or(rest.len(), |end| end + 2)
        } else if first == '\'' {
            character(rest)
        } else if first.is_alphabetic() || first == '_' {
            let end = rest.find(|sign: char| !sign.is_alphanumeric() && sign != '_');
            tokens.push(rest[..end.unwrap_or(rest.len())].to_owned());
            end.unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            tokens.push("::".to_owned());
            2
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    tokens
}

/// The length of a string literal.
fn string(text: &str) -> usize {
    let mut signs = text.char_indices().skip(1);
    while let Some((at, sign)) = signs.next() {
        match sign {
            '\\' => drop(signs.next()),
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a character literal; of a lifetime, that of its sign.
fn character(text: &str) -> usize {
    let mut signs = text.char_indices().skip(1);
    match (signs.next(), signs.next(), signs.next()) {
        (Some((_, '\\')), Some((at, _)), _) => {
            text[at + 1..].find('\'').map_or(1, |end| at + 1 + end + 1)
        }
        (Some(_), Some((at, '\'')), _) => at + 1,
        _ => 1,
    }
}
