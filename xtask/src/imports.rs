//! The imports between the files of a crate, and the pairs of files that import each other.
//!
//! A file imports another one if it names a path into it, beginning with `crate`, `super` or `self`,
//! or in a `use`. A re-exported name counts as the file that it comes from, and a re-export alone is
//! no import: so a `lib.rs` or `mod.rs` that is a table of contents is on no circle.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use crate::workspace;

/// A module's path within its crate, without `crate`.
type Module = Vec<String>;

/// Returns the pairs of files of the workspace that import each other.
pub(crate) fn pairs() -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    for source_folder in workspace::source_folders()? {
        let package = Package::read(&source_folder)?;
        let name = |module: &Module| workspace::relative(&package.files[module].path);
        for (one, imported) in package.imports() {
            let mutual = imported
                .iter()
                .filter(|other| one < **other && package.imports_of(other).contains(&one));
            pairs.extend(mutual.map(|other| (name(&one), name(other))));
        }
    }
    Ok(pairs)
}

/// The modules of a crate, each a file.
struct Package {
    files: BTreeMap<Module, File>,
}

struct File {
    path: PathBuf,
    /// Paths that the file names, as it writes them.
    paths: Vec<Vec<String>>,
    /// Names that it re-exports, and the paths that they come from.
    exports: BTreeMap<String, Vec<String>>,
}

impl Package {
    fn read(source_folder: &Path) -> Result<Self, String> {
        let mut files = BTreeMap::new();
        for path in workspace::files_in(source_folder, "rs")? {
            let module = module(path.strip_prefix(source_folder).unwrap_or(&path));
            let text = workspace::text(&path)?;
            let (paths, exports) = paths(workspace::code(&text));
            files.insert(module, File { path, paths, exports });
        }
        Ok(Self { files })
    }

    fn imports(&self) -> Vec<(Module, BTreeSet<Module>)> {
        self.files.keys().map(|module| (module.clone(), self.imports_of(module))).collect()
    }

    /// Returns the other files that this one names.
    fn imports_of(&self, module: &Module) -> BTreeSet<Module> {
        let Some(file) = self.files.get(module) else { return BTreeSet::new() };
        let named = file.paths.iter().filter_map(|path| self.resolve(module, path, HOPS_MAX));
        named.filter(|other| other != module).collect()
    }

    /// Returns the file that defines what `path` names in `module`.
    fn resolve(&self, module: &Module, path: &[String], hops: usize) -> Option<Module> {
        let mut at = module.clone();
        let mut rest = path;
        match rest.first()?.as_str() {
            "crate" => at.clear(),
            "self" => {}
            "super" => drop(at.pop()?),
            _ => {
                at.push(rest[0].clone());
                if !self.files.contains_key(&at) {
                    return None;
                }
            }
        }
        rest = &rest[1..];
        while let Some((next, after)) = rest.split_first() {
            if next == "super" {
                at.pop()?;
            } else {
                at.push(next.clone());
                if !self.files.contains_key(&at) {
                    at.pop();
                    break;
                }
            }
            rest = after;
        }
        let export = rest.first().and_then(|name| self.files.get(&at)?.exports.get(name));
        match export {
            Some(target) if 0 < hops => {
                let target = [target, &rest[1..]].concat();
                self.resolve(&at, &target, hops - 1).or(Some(at))
            }
            _ => self.files.contains_key(&at).then_some(at),
        }
    }
}

/// More re-exports of one name than there are.
const HOPS_MAX: usize = 8;

/// Returns the module that a file below `src` is.
fn module(file: &Path) -> Module {
    let mut module: Module =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if module.last().is_some_and(|last| ["lib", "main", "mod"].contains(&last.as_str())) {
        module.pop();
    }
    module
}

/// Returns the paths that a source names, and those that it re-exports.
fn paths(code: &str) -> (Vec<Vec<String>>, BTreeMap<String, Vec<String>>) {
    let (mut paths, mut exports) = (Vec::new(), BTreeMap::new());
    let mut code = tokens(code).into_iter().peekable();
    let mut is_public = false;
    while let Some(token) = code.next() {
        match token.as_str() {
            "pub" => is_public = true,
            "(" if is_public => while code.next().is_some_and(|token| token != ")") {},
            "use" => {
                let tree = code.by_ref().take_while(|token| token != ";").collect::<Vec<_>>();
                for (name, path) in expand(&tree) {
                    if is_public {
                        exports.insert(name, path);
                    } else {
                        paths.push(path);
                    }
                }
                is_public = false;
            }
            _ => {
                is_public = false;
                let mut path = vec![token];
                while code.peek().is_some_and(|token| token == "::") {
                    code.next();
                    path.extend(code.next());
                }
                if 1 < path.len() && ["crate", "self", "super"].contains(&path[0].as_str()) {
                    paths.push(path);
                }
            }
        }
    }
    (paths, exports)
}

/// Returns each name that a `use` brings in, with its path.
fn expand(tree: &[String]) -> Vec<(String, Vec<String>)> {
    let open = tree.iter().position(|token| token == "{");
    let Some(open) = open else {
        let path = tree.iter().filter(|token| *token != "::");
        let path: Vec<_> = path.take_while(|token| *token != "as").cloned().collect();
        let name = tree.last().cloned().unwrap_or_default();
        return vec![(name, path)];
    };
    let prefix: Vec<_> = tree[..open].iter().filter(|token| *token != "::").cloned().collect();
    let mut found = Vec::new();
    let (mut depth, mut begin) = (0, open + 1);
    for (index, token) in tree.iter().enumerate().skip(open + 1) {
        match token.as_str() {
            "{" => depth += 1,
            "}" if 0 < depth => depth -= 1,
            "," | "}" if depth == 0 => {
                let part = &tree[begin..index];
                begin = index + 1;
                // A comma may come last.
                if part.is_empty() {
                    continue;
                }
                for (name, path) in expand(part) {
                    let path: Vec<_> = path.into_iter().filter(|part| part != "self").collect();
                    let name = if name == "self" { prefix.last().cloned() } else { Some(name) };
                    found.push((name.unwrap_or_default(), [&prefix[..], &path].concat()));
                }
            }
            _ => {}
        }
    }
    found
}

/// Splits code into words, `::` and single signs; without comments, strings and characters.
fn tokens(code: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if first == '"' {
            string_length(rest)
        } else if first.is_alphanumeric() || first == '_' {
            let is_word = |sign: char| sign.is_alphanumeric() || sign == '_';
            let length = rest.find(|sign| !is_word(sign)).unwrap_or(rest.len());
            tokens.push(rest[..length].to_owned());
            length
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

/// Returns the length of the string literal that `code` begins with.
fn string_length(code: &str) -> usize {
    let mut is_escaped = false;
    for (index, sign) in code.char_indices().skip(1) {
        match sign {
            '"' if !is_escaped => return index + 1,
            '\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_files_of_a_crate_import_each_other() {
        assert_eq!(pairs().unwrap(), []);
    }

    #[test]
    fn a_use_is_expanded_to_its_paths() {
        let (paths, exports) = paths(
            "use crate::{a::{self, B}, c::D as E,};\npub(crate) use self::f::G;\n\
             // use crate::no;\nfn it() { super::h::run(\"crate::no::x\") }",
        );
        let paths: Vec<_> = paths.iter().map(|path| path.join("::")).collect();
        assert_eq!(paths, ["crate::a", "crate::a::B", "crate::c::D", "super::h::run"]);
        assert_eq!(exports["G"].join("::"), "self::f::G");
    }

    #[test]
    fn a_re_export_leads_to_the_file_that_defines() {
        let file = |code| {
            let (paths, exports) = paths(code);
            File { path: PathBuf::new(), paths, exports }
        };
        let module =
            |path: &str| path.split_terminator("::").map(str::to_owned).collect::<Vec<_>>();
        let files = [
            ("", file("pub use crate::{a::A, b::B};")),
            ("a", file("use crate::B;")),
            ("b", file("mod c;\nuse crate::A;\nfn it() { self::c::run() }")),
            ("b::c", file("use super::B;")),
        ];
        let files = files.into_iter().map(|(path, file)| (module(path), file)).collect();
        let package = Package { files };
        let imports = |path| package.imports_of(&module(path)).into_iter().collect::<Vec<_>>();
        assert_eq!(imports("a"), [module("b")]);
        assert_eq!(imports("b"), [module("a"), module("b::c")]);
        assert_eq!(imports("b::c"), [module("b")]);
        assert!(imports("").is_empty());
    }
}
