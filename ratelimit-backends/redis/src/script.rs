//! The scripts: put together of their files, and known to a server by their digests.

use std::{
    hash::{Hash, Hasher},
    ptr,
    sync::LazyLock,
};

use fred::bytes_utils::Str;

/// A script. There is one of each, so it is known by its place.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) text: Str,
    pub(crate) sha: Str,
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

/// The step for states of these kinds, as their headers tell them.
///
/// Most batches have one check, and a server that need not even define the rest answers sooner.
pub(crate) fn step(mut kinds: impl Iterator<Item = u8>) -> &'static Script {
    match (kinds.next(), kinds.next()) {
        (Some(1), None) => &FIXED_WINDOW,
        (Some(2), None) => &SLIDING_WINDOW_LOG,
        (Some(3), None) => &SLIDING_WINDOW_COUNTER,
        (Some(4), None) => &TOKEN_BUCKET,
        (Some(5), None) => &LEAKY_BUCKET,
        (Some(6), None) => &ADAPTIVE,
        _ => &SEVERAL,
    }
}

/// Joins files, and lines that join them.
macro_rules! scripts {
    ($($(#[$doc:meta])* $visibility:vis $name:ident = $($file:literal $(where $line:literal)?)+;)*) => {
        $(
            $(#[$doc])*
            $visibility static $name: LazyLock<Script> = LazyLock::new(|| {
                let text = concat!(
                    $(include_str!(concat!("lua/", $file, ".lua")), "\n", $($line, "\n",)?)+
                );
                Script { text: Str::from_static(text), sha: fred::util::sha1_hash(text).into() }
            });
        )*
    };
}

scripts! {
    FIXED_WINDOW = "prelude" "fixed_window" where "local step = fixed_window" "one";
    SLIDING_WINDOW_LOG =
        "prelude" "log" "sliding_window_log" where "local step = sliding_window_log" "one";
    SLIDING_WINDOW_COUNTER =
        "prelude" "sliding_window_counter" where "local step = sliding_window_counter" "one";
    TOKEN_BUCKET = "prelude" "token_bucket" where "local step = token_bucket" "one";
    LEAKY_BUCKET = "prelude" "leaky_bucket" where "local step = leaky_bucket" "one";
    ADAPTIVE = "prelude" "log" "sensor" "adaptive" where "local step = adaptive" "one";
    SEVERAL =
        "prelude" "log" "sensor" "fixed_window" "sliding_window_log" "sliding_window_counter"
        "token_bucket" "leaky_bucket" "adaptive" "several";

    /// Reads what is stored, whatever it is, and the time.
    pub(crate) READ = "flat" "read";
    /// Stores new values if the old ones are still what was read.
    pub(crate) SWAP = "flat" "swap";
}
