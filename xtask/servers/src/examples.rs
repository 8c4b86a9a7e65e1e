//! A crate's examples, as child processes.

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
};

/// Runs each of the examples in the folder `examples` of a crate that `cargo test` has built, to
/// its end.
///
/// # Panics
///
/// If one of them fails, says nothing, or was not built: some want the crate's features.
pub fn run_examples(crate_folder: &str) {
    let sources = fs::read_dir(Path::new(crate_folder).join("examples"));
    for source in sources.expect("the crate has examples") {
        let source = source.expect("the folder can be read").path();
        let name = source.file_stem().expect("an example has a name");
        run_example(name);
    }
}

/// Runs an example to its end; returns what it says.
///
/// # Panics
///
/// As [`run_examples`].
pub fn run_example(name: impl AsRef<OsStr>) -> String {
    let (output, name) = (program(name.as_ref()).output(), name.as_ref().display());
    let output = output.unwrap_or_else(|error| panic!("{name} was not built: {error}"));
    assert!(output.status.success(), "{name}: {output:?}");
    assert!(!output.stdout.is_empty(), "{name} says nothing");
    String::from_utf8(output.stdout).expect("the example prints text")
}

/// A running example that serves on a port of its own, gone with its handle.
#[derive(Debug)]
pub struct Example {
    process: Child,
    /// The address that it listens on.
    pub address: String,
}

impl Example {
    /// Starts one that `cargo test` has built.
    pub fn start(name: &str) -> Self {
        let process = program(name.as_ref()).stdout(Stdio::piped()).spawn();
        let mut process = process.unwrap_or_else(|error| panic!("{name} was not built: {error}"));
        let mut output = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("the example prints text");
        let address = line.trim().strip_prefix("listening on http://");
        Self { process, address: address.expect("it says where it listens").to_owned() }
    }

    /// Its whole answer to a `GET /`.
    pub fn get(&self) -> String {
        self.send("GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
    }

    /// Its whole answer to a request that closes the connection.
    pub fn send(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("the example listens");
        stream.write_all(request.as_bytes()).expect("the example reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the example answers with text");
        answer
    }

    /// Asks it for three greetings, which it has, and for one more: all examples of web frameworks
    /// do the same.
    ///
    /// # Panics
    ///
    /// If it does not greet, or does not say when to come back.
    #[track_caller]
    pub fn greets_three_times(&self) {
        for remaining in [2, 1, 0] {
            let served = self.get();
            assert!(served.starts_with("HTTP/1.1 200 OK\r\n"), "{served}");
            assert!(
                served.contains(&format!("x-ratelimit-remaining: {remaining}\r\n")),
                "{served}"
            );
            assert!(served.ends_with("\r\n\r\nhello\n"), "{served}");
        }
        let denied = self.get();
        assert!(denied.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{denied}");
        assert!(denied.contains("retry-after: 20\r\n"), "{denied}");
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn program(example: &OsStr) -> Command {
    let this = env::current_exe().expect("a test has a path");
    // A test is in the folder `deps` beside the one of the examples.
    let built = this.ancestors().nth(2).expect("tests are built two folders down").join("examples");
    Command::new(built.join(example))
}
