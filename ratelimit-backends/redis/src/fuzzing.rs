//! The decoding of replies, for a fuzzer that sends it any bytes at all.

use std::time::Duration;

use ratelimit_core::{
    Action, Algorithm, Batch, Check, Key, Policy, adaptive, fixed_window, leaky_bucket,
    sliding_window_counter, sliding_window_log, token_bucket,
};

use crate::{
    cluster,
    connection::client::{Bytes, Reply},
    encoding, error,
    eval::{self, Evaluated},
    stored_values::{self, Found, Values},
};

/// Takes `data` for each reply that a server ever gives.
///
/// # Panics
///
/// If a decision comes of it that could not be.
pub fn replies(mut data: &[u8]) {
    let reply = generate(&mut data, 0);
    let _ = cluster::slot_ranges(&reply, "host");
    if let Some(details) = reply.as_text() {
        let _ = (cluster::redirect_target(&details, "host"), error::word(&details));
    }
    for policy in policies() {
        let check = Check::new(&policy, Key::new("key").expect("it is short"), 1)
            .expect("a permit is a cost");
        for action in [Action::Spend, Action::Peek, Action::Refund] {
            if let Ok(Evaluated::Decided(decisions)) =
                eval::decide(&reply, Batch::one(&check), action)
            {
                assert!(decisions.iter().all(|decision| decision.remaining <= policy.limit()));
            }
        }
        let _ = Values::in_place(reply.clone());
        let values = stored_values::parse(reply.clone());
        let values = values.map_or_else(Vec::new, |(_, values)| values);
        for found in values {
            if let Found::String(found) = found {
                let _ = encoding::read(&found, None, &policy);
            }
        }
    }
}

/// Makes a reply of a kind, a length or a number, and what belongs to it.
fn generate(data: &mut &[u8], depth: usize) -> Reply {
    let Some((&kind, rest)) = data.split_first() else { return Reply::Other };
    *data = rest;
    let length = usize::from(kind >> 3);
    match kind & 7 {
        0 => Reply::Other,
        1 => Reply::Integer(take(data, 8).iter().fold(0, |sum, &byte| sum << 8 | i64::from(byte))),
        2 => Reply::Bytes(Bytes::copy_from_slice(take(data, length))),
        3 if depth < DEPTH_MAX => {
            Reply::Array((0..length).map(|_| generate(data, depth + 1)).collect())
        }
        _ => Reply::Bytes(Bytes::copy_from_slice(take(data, 8 * length))),
    }
}

fn take<'a>(data: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, rest) = data.split_at(length.min(data.len()));
    *data = rest;
    taken
}

/// No reply to a command of ours is deeper.
const DEPTH_MAX: usize = 4;

/// One of each algorithm.
fn policies() -> [Policy; 6] {
    let second = Duration::from_secs(1);
    let quotas: [Result<Algorithm, _>; 6] = [
        fixed_window::Quota::new(10, second, fixed_window::Align::Epoch).map(Into::into),
        sliding_window_log::Quota::new(10, second).map(Into::into),
        sliding_window_counter::Quota::new(10, second).map(Into::into),
        token_bucket::Quota::new(10, 10, second).map(Into::into),
        leaky_bucket::Quota::new(10, 10, second).map(Into::into),
        adaptive::Quota::new(&adaptive::Parameters::new(10, second)).map(Into::into),
    ];
    quotas.map(|quota| Policy::new("policy", quota.expect("in range")).expect("a good name"))
}

#[cfg(test)]
mod tests {
    use std::{fs, iter, path::Path};

    use super::*;

    // FAULTS 201.
    #[test]
    fn no_reply_that_a_fuzzer_has_kept_breaks_the_decoding() {
        // A published package is without the corpus.
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/replies");
        for input in fs::read_dir(corpus).into_iter().flatten() {
            let input = input.expect("the folder is ours").path();
            replies(&fs::read(input).expect("the folder is ours"));
        }
    }

    // FAULTS 201.
    #[test]
    fn no_random_reply_breaks_the_decoding() {
        let mut random = fastrand::Rng::with_seed(201);
        for _ in 0..2_000 {
            let length = random.usize(..400);
            let bytes: Vec<_> = iter::repeat_with(|| random.u8(..)).take(length).collect();
            replies(&bytes);
        }
    }
}
