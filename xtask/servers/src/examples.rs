//! A crate's examples, as child processes.

use std::{env, fs, path::Path, process::Command};

/// Runs each of the examples in the folder `examples` of a crate that `cargo test` has built, to
/// its end.
///
/// # Panics
///
/// If one of them fails, says nothing, or was not built: some want the crate's features.
pub fn run_examples(crate_folder: &str) {
    let this = env::current_exe().expect("a test has a path");
    // A test is in the folder `deps` beside the one of the examples.
    let built = this.ancestors().nth(2).expect("tests are built two folders down").join("examples");
    let sources = fs::read_dir(Path::new(crate_folder).join("examples"));
    for source in sources.expect("the crate has examples") {
        let source = source.expect("the folder can be read").path();
        let name = source.file_stem().expect("an example has a name");
        let output = Command::new(built.join(name)).output();
        let output = output.unwrap_or_else(|error| panic!("{}: {error}", source.display()));
        assert!(output.status.success(), "{}: {output:?}", source.display());
        assert!(!output.stdout.is_empty(), "{} says nothing", source.display());
    }
}
