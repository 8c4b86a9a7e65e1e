//! The long way: what is stored is read, stepped by the core, and swapped if it is still the same.
//!
//! It is taken where a script would have to restate what happens once in a while only: states
//! under other numbers, of other versions or algorithms, with a block around them, or that are none
//! at all; and resets, blocks, charges without asking and refunds of one certain charge.

use std::iter;

use fred::types::Value as Reply;
use ratelimit_backend::{BackendError, ErrorKind};
use ratelimit_core::{
    Action, Batch, StateError, Timestamp,
    store::{Decisions, Record, apply},
};

use crate::{
    redis::Turn,
    reply::{self, nonsense},
    script::{READ, SWAP},
    encoding::{self, Value},
};

pub(crate) async fn run(
    turn: &Turn<'_>,
    batch: Batch<'_>,
    action: Action,
) -> Result<Decisions, BackendError> {
    for _ in 0..ATTEMPTS_MAX {
        let (now, found) = read(turn).await?;
        let mut records = decode(batch, action, &found)?;
        let decisions = apply(batch, action, &mut records, now)?;
        if action == Action::Peek {
            return Ok(decisions);
        }
        let ttl_ms = |record: &Record| turn.ttl_ms(record.lifetime(now));
        let swaps: Vec<_> = iter::zip(found, &records)
            .map(|(found, next)| Swap::new(found, next, ttl_ms))
            .collect();
        if swaps.iter().all(Swap::is_none) || send(turn, swaps, action).await? {
            return Ok(decisions);
        }
    }
    Err(BackendError::not_applied(ErrorKind::Overloaded).with_source(Contended))
}

/// What is under the keys, all at one time.
async fn read(turn: &Turn<'_>) -> Result<(Timestamp, Vec<Option<Vec<u8>>>), BackendError> {
    let reply = turn.run(&READ, vec![turn.time()?], false).await?;
    let (now, found) = reply::dated(reply).ok_or_else(|| nonsense(false))?;
    let found = found.iter().map(|found| found.as_bytes().map(<[u8]>::to_vec)).collect();
    Ok((now, found))
}

/// A reset need not know what it forgets.
fn decode(
    batch: Batch<'_>,
    action: Action,
    found: &[Option<Vec<u8>>],
) -> Result<Vec<Option<Record>>, StateError> {
    let slots = batch.slots().zip(found);
    let records = slots.map(|(slot, found)| {
        let Some(flat) = found else { return Ok(None) };
        match encoding::read(flat, None, slot.policy) {
            Err(_) if action == Action::Reset => Ok(None),
            record => record.map(Some),
        }
    });
    records.collect()
}

/// What was found under a key, and what is to become of it.
struct Swap {
    found: Option<Vec<u8>>,
    change: Change,
}

enum Change {
    Keep,
    Remove,
    Store { value: Value, ttl_ms: u64 },
}

impl Swap {
    fn new(found: Option<Vec<u8>>, next: &Option<Record>, ttl_ms: impl Fn(&Record) -> u64) -> Self {
        let value = next.as_ref().map(|record| (Value::new(record), ttl_ms(record)));
        let change = match (&found, value) {
            (Some(found), Some((value, _))) if value.flat == *found => Change::Keep,
            (_, Some((value, ttl_ms))) => Change::Store { value, ttl_ms },
            (Some(_), None) => Change::Remove,
            (None, None) => Change::Keep,
        };
        Self { found, change }
    }

    const fn is_none(&self) -> bool {
        matches!(self.change, Change::Keep)
    }

    /// As the script takes it. A reset compares only where it stores: it would forget the rest
    /// whatever it was.
    fn into_arguments(self, action: Action) -> [Reply; 4] {
        let bytes = |bytes: Vec<u8>| Reply::Bytes(bytes.into());
        let (value, head, ttl) = match self.change {
            Change::Keep => (Vec::new(), 0, "keep".to_owned()),
            Change::Remove => (Vec::new(), 0, "remove".to_owned()),
            Change::Store { value, ttl_ms } => (value.flat, value.head, ttl_ms.to_string()),
        };
        let found = match self.found {
            _ if action == Action::Reset && value.is_empty() => b"*".to_vec(),
            found => found.unwrap_or_default(),
        };
        [bytes(found), bytes(value), head.to_string().into(), ttl.into()]
    }
}

/// Makes all swaps if everything is still what was found, else none; says which.
async fn send(turn: &Turn<'_>, swaps: Vec<Swap>, action: Action) -> Result<bool, BackendError> {
    let arguments = swaps.into_iter().flat_map(|swap| swap.into_arguments(action)).collect();
    match turn.run(&SWAP, arguments, true).await? {
        Reply::Integer(swapped) => Ok(swapped == 1),
        _ => Err(nonsense(true)),
    }
}

/// Every time somebody was first somebody got through, so as many callers as this may exchange
/// one key's state at once, and all of them do.
const ATTEMPTS_MAX: usize = 64;

/// Why a decision was given up.
#[derive(Debug, thiserror::Error)]
#[error("others were first, {ATTEMPTS_MAX} times in a row")]
struct Contended;
