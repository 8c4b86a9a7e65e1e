//! The scripts: put together of their files, and known to a server by their digests.

use std::{
    hash::{Hash, Hasher},
    ptr,
    sync::{LazyLock, OnceLock},
};

use fred::bytes_utils::Str;

/// A script. There is one of each, so it is known by its place.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) text: Str,
    pub(crate) sha: Str,
}

impl Script {
    fn new(text: impl Into<Str>) -> Self {
        let text = text.into();
        Self { sha: fred::util::sha1_hash(&text).into(), text }
    }
}

impl Eq for Script {}

impl PartialEq for Script {
    fn eq(&self, other: &Self) -> bool {
        ptr::eq(self, other)
    }
}

impl Hash for Script {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        ptr::hash(self, hasher);
    }
}

/// The text of a file in `lua`.
macro_rules! lua {
    ($name:literal) => {
        concat!(include_str!(concat!("lua/", $name, ".lua")), "\n")
    };
}

/// The step for states of these kinds, as their headers tell them.
///
/// There is a script for each set of kinds: a server that need not even define the rest answers
/// sooner. Another is for one state, and for many that are decided one by one.
pub(crate) fn step(kinds: impl Iterator<Item = u8>) -> &'static Script {
    static ONE: [OnceLock<Script>; SETS] = [const { OnceLock::new() }; SETS];
    static SEVERAL: [OnceLock<Script>; SETS] = [const { OnceLock::new() }; SETS];

    let (mut count, mut set) = (0, 0);
    for kind in kinds {
        (count, set) = (count + 1, set | bit(kind.into()));
    }
    let is_one = count == 1;
    let scripts = if is_one { &ONE } else { &SEVERAL };
    scripts[set].get_or_init(|| put_together(set, is_one))
}

/// What the steps are made of, which of them is for which kind, and what runs them.
fn put_together(set: usize, is_one: bool) -> Script {
    let has = |kind: &usize| set & bit(*kind) != 0;
    let files = FILES.iter().filter(|(kinds, _)| kinds.iter().any(has));
    let files: String = files.map(|(_, text)| *text).collect();
    let steps = (1..).zip(STEPS).filter(|(kind, _)| has(kind));
    let (steps, last) = if is_one {
        let step: String = steps.map(|(_, step)| step).collect();
        (format!("local step = {step}\n"), lua!("one"))
    } else {
        let steps: String = steps.map(|(kind, step)| format!("[{kind}] = {step}, ")).collect();
        (format!("local steps = {{{steps}}}\n"), lua!("several"))
    };
    Script::new([lua!("prelude"), &files, &steps, last].concat())
}

/// Kinds begin at one, as the core numbers them.
const fn bit(kind: usize) -> usize {
    1 << (kind - 1)
}

/// The functions that step, by kind.
const STEPS: [&str; 7] = [
    "fixed_window",
    "sliding_window_log",
    "sliding_window_counter",
    "token_bucket",
    "leaky_bucket",
    "adaptive",
    "shared_sensor",
];

const SETS: usize = 1 << STEPS.len();

/// The files, and the kinds that need them.
const FILES: [(&[usize], &str); 8] = [
    (&[2, 6], lua!("log")),
    (&[6, 7], lua!("sensor")),
    (&[1], lua!("fixed_window")),
    (&[2], lua!("sliding_window_log")),
    (&[3], lua!("sliding_window_counter")),
    (&[4], lua!("token_bucket")),
    (&[5], lua!("leaky_bucket")),
    (&[6], lua!("adaptive")),
];

/// Reads what is stored, whatever it is, and the time.
pub(crate) static READ: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!(lua!("flat"), lua!("read"))));

/// Stores new values if the old ones are still what was read.
pub(crate) static SWAP: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!(lua!("flat"), lua!("swap"))));
