//! The scripts: put together from their files, and known to a server by their digests.

use std::{
    hash::{Hash, Hasher},
    ptr,
    sync::{
        Arc, LazyLock, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use ratelimit_backend::{BackendError, Clock, WallClock};
use ratelimit_core::Timestamp;

use crate::connection::client::{Bytes, script_digest};

/// A script. There is one of each, so its address tells it from the others.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) text: Bytes,
    pub(crate) digest: Bytes,
}

impl Script {
    fn new(text: String) -> Self {
        Self { digest: script_digest(&text).into(), text: text.into() }
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

/// The step for states of these kinds, as their headers tell them, with the terms of their slots.
///
/// There is a script for each set of kinds: a server that need not even define the rest answers
/// sooner. There is one more for a single state, and for many that are decided one by one.
pub(crate) fn step(slots: &[(u8, Terms)]) -> &'static Script {
    static ONE: [OnceLock<Script>; SETS] = [const { OnceLock::new() }; SETS];
    static SEVERAL: [OnceLock<Script>; SETS] = [const { OnceLock::new() }; SETS];

    let set = slots.iter().fold(0, |set, (kind, _)| set | bit(*kind));
    let is_one = slots.len() == 1;
    let scripts = if is_one { &ONE } else { &SEVERAL };
    scripts[set].get_or_init(|| put_together(set, slots, is_one))
}

/// The terms of a policy by name.
pub(crate) type Terms = Vec<(&'static str, u64)>;

/// Joins the files of a set of kinds, a table of their steps, and the main program.
fn put_together(set: usize, slots: &[(u8, Terms)], is_one: bool) -> Script {
    let has = |kind: u8| set & bit(kind) != 0;
    let terms = |kinds: &[u8]| {
        let mut slots = slots.iter();
        slots.find_map(|(kind, terms)| kinds.contains(kind).then_some(terms))
    };
    let files = FILES.iter().filter_map(|(kinds, text)| Some(with_terms(text, terms(kinds)?)));
    let files: String = files.collect();
    let steps = STEPS.into_iter().filter(|(kind, _)| has(*kind));
    let (steps, main) = if is_one {
        let step: String = steps.map(|(_, step)| step).collect();
        (format!("local step = {step}\n"), lua!("one"))
    } else {
        let steps: String = steps.map(|(kind, step)| format!("[{kind}] = {step}, ")).collect();
        (format!("local steps = {{{steps}}}\n"), lua!("several"))
    };
    Script::new([lua!("prelude"), &files, &steps, main].concat())
}

/// Puts the names of terms into the lines that unpack them:
///
/// ```text
/// local TERMS, cost = unpack_terms(terms)
/// local limit, window, align, cost = unpack_words('>I7I7I7I7', terms)
/// ```
fn with_terms(text: &str, terms: &[(&str, u64)]) -> String {
    let line = |line: &str| match line.split_once("local TERMS") {
        Some((indent, rest)) => {
            let more = rest.split_once(" = ").map_or("", |(more, _)| more);
            let names: Vec<_> = terms.iter().map(|(name, _)| *name).collect();
            let names = names.join(", ") + more;
            let format = "I7".repeat(names.split(", ").count());
            format!("{indent}local {names} = unpack_words('>{format}', terms)\n")
        }
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// The place of a kind in the list; none where there is no script for it.
fn bit(kind: u8) -> usize {
    let place = STEPS.iter().position(|(known, _)| *known == kind);
    place.map_or(0, |place| 1 << place)
}

/// The functions that step, by kind, as the core numbers them.
const STEPS: [(u8, &str); 8] = [
    (1, "fixed_window"),
    (2, "sliding_window_log"),
    (3, "sliding_window_counter"),
    (4, "token_bucket"),
    (5, "leaky_bucket"),
    (6, "adaptive"),
    (7, "shared_sensor"),
    (10, "in_flight"),
];

const SETS: usize = 1 << STEPS.len();

/// The files, and the kinds that need them.
const FILES: [(&[u8], &str); 9] = [
    (&[2, 6], lua!("log")),
    (&[6, 7], lua!("sensor")),
    (&[1], lua!("fixed_window")),
    (&[2], lua!("sliding_window_log")),
    (&[3], lua!("sliding_window_counter")),
    (&[4], lua!("token_bucket")),
    (&[5], lua!("leaky_bucket")),
    (&[6], lua!("adaptive")),
    (&[10], lua!("in_flight")),
];

/// Reads the time and all values, whatever they are.
pub(crate) static READ: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!(lua!("flat"), lua!("read")).to_owned()));

/// Stores new values if the old ones are still those that were read.
pub(crate) static SWAP: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!(lua!("flat"), lua!("swap")).to_owned()));

/// The clock of the scripts: the server's own, or for tests another.
#[derive(Clone)]
pub(crate) struct ScriptClock {
    test: Option<Arc<dyn Clock>>,
    /// A time of the server, in microseconds: the last one that a script's terms were not of.
    server: Arc<AtomicU64>,
}

impl ScriptClock {
    pub(crate) fn new(test: Option<Arc<dyn Clock>>) -> Self {
        let here = WallClock::new().now().unwrap_or(Timestamp::EPOCH);
        Self { test, server: Arc::new(here.as_micros().into()) }
    }

    /// A time that the server's is near to, as far as is known. Windows of a calendar are long: if
    /// the script finds that it is in another one, it says so.
    pub(crate) fn guess(&self) -> Result<Timestamp, BackendError> {
        match &self.test {
            Some(clock) => clock.now(),
            // Relaxed, here and below: a time that is not the newest costs a round trip.
            None => {
                Ok(Timestamp::from_micros(self.server.load(Ordering::Relaxed)).unwrap_or_default())
            }
        }
    }

    /// Corrects the guess.
    pub(crate) fn learn(&self, now: Timestamp) {
        self.server.store(now.as_micros(), Ordering::Relaxed);
    }

    /// The time as scripts take it: empty for the server's own.
    pub(crate) fn argument(&self) -> Result<Bytes, BackendError> {
        let now = self.test.as_ref().map(|clock| clock.now()).transpose()?;
        Ok(now.map_or_else(Bytes::new, |now| now.as_micros().to_string().into()))
    }

    /// The extra time for which the server keeps what it forgets by its own clock.
    pub(crate) const fn spare_ms(&self) -> u64 {
        if self.test.is_some() { SPARE_MS } else { RETENTION_MS }
    }
}

/// An hour, as in the scripts.
const SPARE_MS: u64 = 3_600_000;

/// Ten seconds, as in the scripts: the server's clock may step back by as much.
const RETENTION_MS: u64 = 10_000;
