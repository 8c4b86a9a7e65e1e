//! The decoding of replies, for whoever sends it any bytes at all.

use std::time::Duration;

use fred::types::Value as Reply;
use ratelimit_core::{
    Action, Algorithm, Batch, Check, Key, Policy, adaptive, fixed_window, leaky_bucket,
    sliding_window_counter, sliding_window_log, token_bucket,
};

use crate::{error, reply, slots, eval, encoding};

/// Takes `data` for each reply that a server is ever asked for.
///
/// # Panics
///
/// If a decision comes of it that could not be.
pub fn replies(mut data: &[u8]) {
    let reply = draw(&mut data, 0);
    let _ = slots::ranges(&reply, "host");
    if let Some(said) = reply.as_str() {
        let _ = (slots::target(&said, "host"), error::word(&said));
    }
    for policy in policies() {
        let check = Check::new(&policy, Key::new("key").expect("it is short"), 1)
            .expect("a permit is a cost");
        for action in [Action::Spend, Action::Peek, Action::Refund] {
            if let Ok(Some(decisions)) = eval::decide(&reply, Batch::one(&check), action) {
                assert!(decisions.iter().all(|decision| decision.remaining <= policy.limit()));
            }
        }
        let values = reply::dated(reply.clone()).map_or_else(Vec::new, |(_, values)| values);
        for found in values.iter().filter_map(Reply::as_bytes) {
            let _ = encoding::read(found, None, &policy);
        }
    }
}

/// A kind, a length or a number, and what belongs to it; nothing where there is no more.
fn draw(data: &mut &[u8], depth: usize) -> Reply {
    let Some((&kind, rest)) = data.split_first() else { return Reply::Null };
    *data = rest;
    let length = usize::from(kind >> 3);
    match kind & 7 {
        0 => Reply::Null,
        1 => Reply::Integer(take(data, 8).iter().fold(0, |sum, &byte| sum << 8 | i64::from(byte))),
        2 => Reply::from(String::from_utf8_lossy(take(data, length)).into_owned()),
        3 if depth < DEPTH_MAX => {
            Reply::Array((0..length).map(|_| draw(data, depth + 1)).collect())
        }
        _ => Reply::Bytes(take(data, 8 * length).to_vec().into()),
    }
}

fn take<'a>(data: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, rest) = data.split_at(length.min(data.len()));
    *data = rest;
    taken
}

/// No reply that is asked for is deeper.
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
