//! The table of commands.

use crate::command_line::{Command, Flag, Operands, Value};

/// `cargo xtask demo`.
pub const DEMO: Command = Command {
    name: "demo",
    about: "Serves a live page of the six algorithms.",
    options: &[
        Flag {
            name: "--port",
            value: Value::Number { max: 65_535 },
            about: "the port to listen on; 8080 without it",
        },
        Flag {
            name: "--backend",
            value: Value::OneOf(&["memory", "sqlite", "redis"]),
            about: "where limits are kept; in memory without it",
        },
        Flag {
            name: "--lease",
            value: Value::Percent,
            about: "shows leases of one limit in redis, which several processes share",
        },
        Flag {
            name: "--svg",
            value: Value::Text("FILE"),
            about: "draws a minute of these leases, simulated, and serves nothing",
        },
    ],
    operands: Operands::None,
    notes: "  sqlite  keeps its limits in the file RATELIMIT_SQLITE_FILE,
          by default ratelimit-demo.sqlite in the system's folder for temporary files
  redis   shares its limits through the server at RATELIMIT_REDIS_URL,
          by default redis://127.0.0.1:6379;
          with --lease by default a server that it starts, and ends",
};

/// `cargo xtask replay`.
pub const REPLAY: Command = Command {
    name: "replay",
    about: "Decides recorded scenarios anew.",
    options: &[
        Flag {
            name: "--backend",
            value: Value::OneOf(&["core", "memory", "sqlite", "redis"]),
            about: "what decides; the core alone without it",
        },
        Flag {
            name: "--check",
            value: Value::None,
            about: "compares with what the file says, instead of printing",
        },
    ],
    operands: Operands::One("FILE"),
    notes: "  FILE holds scenarios as JSON lines; - is the standard input.",
};

/// `cargo xtask bench`.
pub const BENCH: Command = Command {
    name: "bench",
    about: "Measures our limiters and their peers side by side.",
    options: &[
        Flag {
            name: "--quick",
            value: Value::None,
            about: "fewer and shorter rounds, and fewer rows: within two minutes",
        },
        Flag { name: "--json", value: Value::Text("FILE"), about: "writes the rows as JSON" },
        Flag { name: "--svg", value: Value::Text("FILE"), about: "draws the rows" },
        Flag { name: "--picture", value: Value::Text("FILE"), about: "draws the README's picture" },
        Flag { name: "--plots", value: Value::Text("FILE"), about: "draws how costs grow" },
        Flag { name: "--save", value: Value::Text("FILE"), about: "keeps this run as a baseline" },
        Flag { name: "--against", value: Value::Text("FILE"), about: "compares with a baseline" },
        INSTALL,
    ],
    operands: Operands::Any("WORD"),
    notes: "  WORD  only rows with all of these words in their names",
};

/// Programs and tools are installed only where this is given, or by root.
const INSTALL: Flag = Flag {
    name: "--install",
    value: Value::None,
    about: "installs the programs that it needs and that are missing",
};

const WITHOUT_SERVERS: Flag = Flag {
    name: "--without-servers",
    value: Value::None,
    about: "starts no server and no browser, and skips the tests that need one",
};

const FULL: Flag =
    Flag { name: "--full", value: Value::None, about: "runs the long suites at their full length" };

static COMMANDS: [Command; 23] = [
    DEMO,
    simple("test", "Runs all tests.", &[FULL, WITHOUT_SERVERS, INSTALL]),
    simple("lint", "Checks formatting and clippy, with warnings as errors.", &[]),
    simple("docs", "Builds the docs, with warnings as errors.", &[]),
    simple(
        "check",
        "Runs test, loom, lint and docs: what every change has to pass.",
        &[FULL, INSTALL],
    ),
    REPLAY,
    simple("faults", "Writes the names of tests into docs/faults.md.", &[]),
    simple("loom", "Explores every interleaving of the memory store's models.", &[]),
    simple(
        "servers",
        "Runs the tests of the Redis store on Redis 6.2, the one on the path, and Valkey 9.",
        &[INSTALL],
    ),
    simple(
        "load",
        "Measures stores under load: one key of many callers, long logs, a rolling deploy, outages.",
        &[INSTALL],
    ),
    Command {
        name: "fuzz",
        about: "Has libFuzzer look for bytes that break a target.",
        options: &[
            Flag {
                name: "--seconds",
                value: Value::Number { max: u32::MAX },
                about: "the time for each target; 600 without it",
            },
            INSTALL,
        ],
        operands: Operands::Any("TARGET"),
        notes: "  TARGET  the folders of fuzz/corpus; all of them without it",
    },
    simple(
        "features",
        "Tests any two features, the oldest compiler and the oldest dependencies promised.",
        &[INSTALL],
    ),
    simple(
        "deny",
        "Checks the licences, sources and advisories of all that is built in.",
        &[
            Flag {
                name: "--offline",
                value: Value::None,
                about: "leaves out advisories, which are fetched",
            },
            INSTALL,
        ],
    ),
    simple(
        "api",
        "Compares what is public with docs/api.",
        &[Flag { name: "--write", value: Value::None, about: "renews docs/api instead" }, INSTALL],
    ),
    simple(
        "package",
        "Packs what is published, and builds and tests each crate from its package.",
        &[],
    ),
    simple("sizes", "Prints the sizes of crates, files and functions.", &[]),
    Command {
        name: "mutants",
        about: "Changes code that decides, drops or tells clients apart, and looks for a test that fails.",
        options: &[
            Flag {
                name: "--file",
                value: Value::Text("GLOB"),
                about: "only these sources, as in debt.rs or **/state/*.rs",
            },
            Flag {
                name: "--shard",
                value: Value::Text("K/N"),
                about: "only the K-th of N parts, counted from 0",
            },
            INSTALL,
        ],
        operands: Operands::Any("PACKAGE"),
        notes: "  PACKAGE  ratelimit-core, -memory, -lease or -http; all without it",
    },
    simple(
        "wasm",
        "Builds a limiter for WebAssembly, and runs it in node by the clock of the host.",
        &[INSTALL],
    ),
    simple("coverage", "Shows which lines the tests reach.", &[INSTALL]),
    simple("miri", "Interprets the tests of the core and of the memory store.", &[]),
    Command {
        name: "tsan",
        about: "Runs the tests of what threads share under ThreadSanitizer.",
        options: &[],
        operands: Operands::Any("PACKAGE"),
        notes: "  PACKAGE  those without C in them and without servers, if none is named",
    },
    simple("msrv", "Checks the published crates with the oldest compiler promised.", &[INSTALL]),
    BENCH,
];

const fn simple(name: &'static str, about: &'static str, options: &'static [Flag]) -> Command {
    Command { name, about, options, operands: Operands::None, notes: "" }
}

/// Returns all commands, in the order of the help.
#[must_use]
pub fn commands() -> &'static [Command] {
    &COMMANDS
}

/// Returns a line for each command.
#[must_use]
pub fn usage() -> String {
    let mut usage = "usage: cargo xtask COMMAND\n\n".to_owned();
    for command in &COMMANDS {
        usage.push_str(&format!("  {:9} {}\n", command.name, command.about));
    }
    usage.push_str("\ncargo xtask COMMAND --help says what a command takes");
    usage
}
