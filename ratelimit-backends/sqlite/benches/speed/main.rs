//! How many decisions a second does a store in a file make, beside what one would write by hand?
//!
//! `cargo bench -p ratelimit-sqlite -- [--json] [--quick] [WORD…]` measures the rows whose names
//! have one of the words, ours and the peer's in turn, and prints the medians: a table, or with
//! `--json` an object a line.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

mod alone;
mod processes;
mod together;

mod by_hand;
mod file;
mod row;

use std::env;

use crate::row::{Effort, Row};

fn main() {
    if processes::is_child() {
        return processes::play_role();
    }
    let (flags, words): (Vec<_>, Vec<_>) =
        env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let has = |flag: &str| flags.iter().any(|given| given == flag);
    let effort = if has("--quick") { Effort::QUICK } else { Effort::FULL };
    let print = if has("--json") { Row::print_json } else { Row::print };
    rows(effort, &words, print);
}

/// Measures the rows that a word picks, all if there is none, and shows each once it is known.
fn rows(effort: Effort, words: &[String], show: impl Fn(&Row)) {
    for (name, measure) in ROWS {
        if words.is_empty() || words.iter().any(|word| name.contains(word.as_str())) {
            measure(name, effort).iter().for_each(&show);
        }
    }
}

type Measure = fn(&str, Effort) -> Vec<Row>;

const ROWS: [(&str, Measure); 5] = [
    ("sqlite, one caller, allowed", alone::allowed),
    ("sqlite, one caller, denied", alone::denied),
    ("sqlite, 64 async callers", together::rows::<64>),
    ("sqlite, 256 async callers", together::rows::<256>),
    ("sqlite, 4 processes", processes::rows),
];
