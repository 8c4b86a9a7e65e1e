//! The meaning of a failure: by the first word of the server's reply, else by the client's account.

use ratelimit_backend::{BackendError, Effect, ErrorKind};

use crate::connection::client::{Cause, Endpoint, Failure};

/// The error for a failed command, which may have charged or cannot have.
pub(crate) fn command_error(failure: &Failure, charges: bool) -> BackendError {
    let (kind, effect) = meaning(failure);
    let source = Reason(word(&failure.details).unwrap_or(failure.name).to_owned());
    let error = match effect {
        Effect::Unknown if charges => BackendError::unknown(kind),
        _ => BackendError::not_applied(kind),
    };
    error.with_source(source)
}

/// The error of an attempt to connect. It sends no command that could be quoted, so a failure of the
/// network is told in full.
pub(crate) fn connect_error(failure: &Failure, endpoint: &Endpoint) -> BackendError {
    let reason = match word(&failure.details) {
        Some(word) => word,
        None if failure.cause == Cause::Lost => &failure.details,
        None => failure.name,
    };
    unconnected(meaning(failure).0, reason, endpoint)
}

/// The error of an attempt to connect, which names the servers of the URL.
pub(crate) fn unconnected(kind: ErrorKind, reason: &str, endpoint: &Endpoint) -> BackendError {
    let servers: Vec<_> = endpoint.addresses().iter().map(ToString::to_string).collect();
    let reason = Reason(format!("{}: {reason}", servers.join(", ")));
    BackendError::not_applied(kind).with_source(reason)
}

/// The error for a reply that no script of ours gives, to a command that may have charged or
/// cannot have.
pub(crate) fn protocol_error(charges: bool) -> BackendError {
    let kind = ErrorKind::Protocol;
    if charges { BackendError::unknown(kind) } else { BackendError::not_applied(kind) }
}

fn meaning(failure: &Failure) -> (ErrorKind, Effect) {
    use Effect::{NotApplied, Unknown};
    match word(&failure.details) {
        // A server says these instead of running a command, or at a script's first write.
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
        // A user who may run a script but not all that is in it may fail halfway.
        Some("NOPERM") if failure.details.contains("script") => (ErrorKind::Auth, Unknown),
        Some("NOPERM") => (ErrorKind::Auth, NotApplied),
        Some("CROSSSLOT") => (ErrorKind::Incompatible, NotApplied),
        Some(_) => (ErrorKind::Protocol, Unknown),
        None => match failure.cause {
            Cause::Timeout => (ErrorKind::Timeout, Unknown),
            Cause::Backpressure => (ErrorKind::Overloaded, NotApplied),
            Cause::Auth => (ErrorKind::Auth, NotApplied),
            Cause::Unreachable => (ErrorKind::Unavailable, NotApplied),
            Cause::Protocol => (ErrorKind::Protocol, Unknown),
            Cause::Usage => (ErrorKind::Incompatible, NotApplied),
            Cause::Lost => (ErrorKind::Unavailable, Unknown),
        },
    }
}

/// The first word of a server's error, which is in capitals; a client's own text has none.
///
/// Before version 7 the word of a command that fails in a script comes late:
/// `ERR Error running script (…): @user_script: 1: -OOM command not allowed …`.
pub(crate) fn word(details: &str) -> Option<&str> {
    let error = match details.split_once(": -") {
        Some((before, error)) if before.starts_with("ERR Error running script") => error,
        _ => details,
    };
    let word = error.split([' ', '\r', '\n']).next()?;
    (1 < word.len() && word.bytes().all(|byte| byte.is_ascii_uppercase())).then_some(word)
}

/// The cause, in a few words: whole messages of a server quote commands and their arguments.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Reason(String);

#[cfg(test)]
mod tests {
    use super::*;

    // FAULTS 142, 153.
    #[test]
    fn a_cluster_that_is_down_and_a_server_that_is_nowhere_are_unavailable() {
        let failure =
            |cause, details: &'static str| Failure { cause, details: details.into(), name: "none" };
        let down = failure(Cause::Lost, "CLUSTERDOWN The cluster is down");
        let nowhere = failure(Cause::Unreachable, "no server for it");
        for (failure, charges, effect) in [
            (&down, true, Effect::Unknown),
            (&down, false, Effect::NotApplied),
            (&nowhere, true, Effect::NotApplied),
        ] {
            let error = command_error(failure, charges);
            assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, effect));
        }
    }
}
