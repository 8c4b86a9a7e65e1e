//! The effort of long tests.

/// `full` in a full run, which is what `RATELIMIT_FULL` says; else `usual`, as many as a few seconds
/// allow.
pub fn effort<T>(full: T, usual: T) -> T {
    if std::env::var_os("RATELIMIT_FULL").is_some() { full } else { usual }
}
