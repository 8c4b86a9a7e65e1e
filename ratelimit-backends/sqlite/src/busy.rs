//! Waiting for a lock that another process holds.
//!
//! SQLite wakes no waiter when it releases a lock, so a waiter has to poll. Its own busy handler
//! soon sleeps for a tenth of a second between two attempts; among writers that come back at once,
//! that starves some of them for seconds. Here the sleeps stay short, differ at random, and get
//! shorter as time runs out. Two attempts in a row follow each of them: a holder who was about to
//! end a transaction has ended it by the second. More of them would only take the processor from a
//! holder that was interrupted in a transaction.

use std::{
    hash::{BuildHasher, RandomState},
    thread,
    time::{Duration, Instant},
};

use crate::error::Failure;

/// Repeats `attempt` while others hold a lock that it needs, at least once, until `deadline`.
pub(crate) fn retry_while_busy<T>(
    deadline: Instant,
    mut attempt: impl FnMut() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut pause = PAUSE_MIN;
    loop {
        for _ in 1..ATTEMPTS {
            let result = attempt();
            if !is_busy(&result) {
                return result;
            }
        }
        let result = attempt();
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || !is_busy(&result) {
            return result;
        }
        thread::sleep(jittered(pause.min(left / HASTE)));
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

fn is_busy<T>(result: &Result<T, Failure>) -> bool {
    result.as_ref().is_err_and(Failure::is_busy)
}

/// The instant `length` from now, but within a year, which every clock can express.
pub(crate) fn deadline_after(length: Duration) -> Instant {
    Instant::now() + length.min(A_YEAR)
}

/// Between half of `pause` and the whole.
fn jittered(pause: Duration) -> Duration {
    let half = pause / 2;
    let [random, ..] = RandomState::new().hash_one(()).to_le_bytes();
    half + half * random.into() / 256
}

/// Of eight busy processes, several times fewer calls wait for long than with one, or with eight.
const ATTEMPTS: usize = 2;

/// About what a transaction takes.
const PAUSE_MIN: Duration = Duration::from_micros(20);

/// The share of the time left that one sleep may take, so that the longest waiter tries most often.
const HASTE: u32 = 32;

/// Some dozens of transactions: the processor is left to the holder of the lock.
const PAUSE_MAX: Duration = Duration::from_micros(500);

const A_YEAR: Duration = Duration::from_secs(365 * 86_400);
