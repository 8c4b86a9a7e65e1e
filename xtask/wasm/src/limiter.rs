//! A limiter in memory, and the clock of JavaScript.

use std::num::NonZeroUsize;

use ratelimit_algorithms::{BackendError, Clock, Limiter, Timestamp, TokenBucket};
use ratelimit_memory::Memory;

#[derive(Debug)]
struct HostClock;

impl Clock for HostClock {
    fn now(&self) -> Result<Timestamp, BackendError> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole and positive"
        )]
        let millis = js_sys::Date::now() as u64;
        Ok(Timestamp::from_micros(1_000 * millis).expect("the date is in range"))
    }
}

/// Under the clock of `run.mjs`, each decision is a second after the one before.
///
/// # Panics
///
/// If a decision is not what the seconds say; that ends the program with an error.
pub(crate) fn decides_by_the_clock_of_the_host() {
    let store = Memory::with_clock(HostClock, NonZeroUsize::MIN);
    let limiter = Limiter::new(store, "api", TokenBucket::per_minute(3)).expect("in range");
    for second in 0..=20 {
        let decision = limiter.check("user:42").now().expect("memory has room for one key");
        assert_eq!(decision.is_allowed(), second < 3 || second == 20, "after {second} s");
        let left = if decision.is_allowed() { 0 } else { 20 - second };
        assert_eq!(decision.retry_after().as_micros(), 1_000_000 * left);
    }
    assert!(limiter.check("user:43").now().is_err(), "one key is all that memory has room for");
}
