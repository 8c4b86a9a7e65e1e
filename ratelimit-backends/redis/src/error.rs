//! What a failure means: by the client's kind of error, and by the first word of the server's.

use fred::error::{Error, ErrorKind as Kind};
use ratelimit_backend::{BackendError, Effect, ErrorKind};

/// What failed, and what it may have left behind if it was a command that charges.
pub(crate) fn failure(error: &Error, charges: bool) -> BackendError {
    let (kind, effect) = meaning(error);
    let source = Cause(word(error.details()).unwrap_or_else(|| error.kind().to_str()).to_owned());
    let failure = match effect {
        Effect::Unknown if charges => BackendError::unknown(kind),
        _ => BackendError::not_applied(kind),
    };
    failure.with_source(source)
}

fn meaning(error: &Error) -> (ErrorKind, Effect) {
    use Effect::{NotApplied, Unknown};
    match word(error.details()) {
        // What a server says instead of running a command, or at a script's first write.
        Some(
            "NOSCRIPT" | "MOVED" | "ASK" | "TRYAGAIN" | "LOADING" | "MASTERDOWN" | "MISCONF"
            | "NOREPLICAS",
        ) => (ErrorKind::Unavailable, NotApplied),
        // The client then closes the connection, and tells all who wait on it the same.
        Some("CLUSTERDOWN") => (ErrorKind::Unavailable, Unknown),
        Some("READONLY") => (ErrorKind::ReadOnly, NotApplied),
        Some("OOM") => (ErrorKind::Full, NotApplied),
        Some("BUSY") => (ErrorKind::Overloaded, NotApplied),
        Some("NOAUTH" | "WRONGPASS") => (ErrorKind::Auth, NotApplied),
        // Whoever may run a script but not all that is in it may fail halfway.
        Some("NOPERM") if error.details().contains("script") => (ErrorKind::Auth, Unknown),
        Some("NOPERM") => (ErrorKind::Auth, NotApplied),
        Some("CROSSSLOT") => (ErrorKind::Incompatible, NotApplied),
        Some(_) => (ErrorKind::Protocol, Unknown),
        None => of_client(error.kind()),
    }
}

fn of_client(kind: &Kind) -> (ErrorKind, Effect) {
    match kind {
        Kind::Timeout => (ErrorKind::Timeout, Effect::Unknown),
        Kind::Backpressure => (ErrorKind::Overloaded, Effect::NotApplied),
        Kind::Auth => (ErrorKind::Auth, Effect::NotApplied),
        Kind::Routing | Kind::Cluster | Kind::Sentinel => {
            (ErrorKind::Unavailable, Effect::NotApplied)
        }
        Kind::Protocol | Kind::Parse => (ErrorKind::Protocol, Effect::Unknown),
        Kind::Config | Kind::Url | Kind::InvalidArgument | Kind::InvalidCommand => {
            (ErrorKind::Incompatible, Effect::NotApplied)
        }
        _ => (ErrorKind::Unavailable, Effect::Unknown),
    }
}

/// The first word of what a server says, which is in capitals; a client's own text has none.
///
/// Before version 7 the word of a command that fails in a script comes late:
/// `ERR Error running script (…): @user_script: 1: -OOM command not allowed …`.
pub(crate) fn word(details: &str) -> Option<&str> {
    let said = match details.split_once(": -") {
        Some((before, said)) if before.starts_with("ERR Error running script") => said,
        _ => details,
    };
    let word = said.split([' ', '\r', '\n']).next()?;
    (1 < word.len() && word.bytes().all(|byte| byte.is_ascii_uppercase())).then_some(word)
}

/// The cause, in one word or a few: whole messages quote commands and their arguments.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Cause(String);
