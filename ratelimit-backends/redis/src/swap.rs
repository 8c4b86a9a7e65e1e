//! One attempt to change values: what is there is read, stepped by the core, and swapped if it is still
//! there.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    iter,
    time::Duration,
};

use ratelimit_backend::{
    BackendError,
    transact::{Change, Entry, decide_in_turn},
};
use ratelimit_core::{
    Action, Batch,
    store::{Decisions, Record},
};
use tokio::time::sleep;

use crate::{
    connection::client::{Bytes, Reply},
    encoding::{self, Encoded},
    error::protocol_error,
    list_diff::Edit,
    read_values,
    request::Request,
    script::SWAP,
    stored_values::{self, Value, Values},
};

/// The reach of an attempt.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Mode {
    /// It decides only if nothing changes.
    Look,
    /// It swaps, and may find that another caller was faster.
    Swap,
    /// It keeps other clients away between the read and the swap.
    Reserve,
}

impl Mode {
    /// The token of an attempt; none if it changes nothing.
    pub(crate) fn token(self) -> Bytes {
        match self {
            Self::Look => Bytes::new(),
            Self::Swap | Self::Reserve => random().to_be_bytes().to_vec().into(),
        }
    }
}

/// The end of an attempt.
pub(crate) enum Attempt {
    /// The decisions of each batch, and the values that are there now, as far as they are known.
    Decided(Vec<Decisions>, Option<Values>),
    /// Another caller was faster, and left these values; or has reserved one, or they are not known.
    Lost(Option<Values>),
}

/// Reads, decides and swaps.
pub(crate) async fn attempt(
    request: &Request,
    batch: Batch<'_>,
    action: Action,
    mode: Mode,
) -> Result<Attempt, BackendError> {
    let token = mode.token();
    match read_values::read(request, action, &token, mode == Mode::Reserve).await? {
        Some(values) => swap(request, &[batch], action, (mode, token), values).await,
        None => Ok(Attempt::Lost(None)),
    }
}

/// Decides batches of the same slots, one after the other, by values that were read with this token, and
/// swaps in what the last one leaves.
pub(crate) async fn swap(
    request: &Request,
    batches: &[Batch<'_>],
    action: Action,
    (mode, token): (Mode, Bytes),
    Values { now, found }: Values,
) -> Result<Attempt, BackendError> {
    let Some(first) = batches.first() else { return Ok(Attempt::Lost(None)) };
    let entries = first.slots().zip(&found).map(|(slot, found)| {
        let flat = found.as_ref().map(Value::flat);
        Entry::new(action, flat.map(|flat| encoding::read(flat, None, slot.policy)))
    });
    let entries: Vec<_> = entries.collect::<Result<_, _>>()?;
    let (changes, decisions) = decide_in_turn(batches, action, &entries, now)?;
    let is_list = |found: &Option<Value>| matches!(found, Some(Value::List(_)));
    let is_reserved = mode == Mode::Reserve || mode == Mode::Swap && found.iter().any(is_list);
    if !is_reserved && changes.iter().all(|change| matches!(change, Change::Keep)) {
        return Ok(Attempt::Decided(decisions, Some(Values { now, found })));
    }
    if mode == Mode::Look {
        return Ok(Attempt::Lost(None));
    }
    let swaps = iter::zip(&found, changes);
    let swaps = swaps.map(|(found, change)| arguments(request, action, found.as_ref(), change));
    let (words, left): (Vec<_>, Vec<_>) = swaps.unzip();
    let words = words.into_iter().flatten();
    let arguments = [token, request.time()?].into_iter().chain(words).collect();
    match request.run(&SWAP, arguments, true).await? {
        Reply::Integer(now) => {
            let now = stored_values::time(now).ok_or_else(|| protocol_error(true))?;
            let left: Option<Vec<_>> = left.into_iter().collect();
            Ok(Attempt::Decided(decisions, left.map(|found| Values { now, found })))
        }
        reply => Ok(Attempt::Lost(Values::in_place(reply).ok_or_else(|| protocol_error(true))?)),
    }
}

/// One key's arguments as the script takes them, and the value that it leaves; the outer `None` if
/// that is a list. A reset compares only where it stores: it removes everything else, whatever it is.
fn arguments(
    request: &Request,
    action: Action,
    found: Option<&Value>,
    change: Change<Record>,
) -> ([Bytes; 7], Option<Option<Value>>) {
    let word = Bytes::from_static;
    let stores = matches!(change, Change::Put { .. });
    let (read, same) = match found {
        _ if action == Action::Reset && !stores => (word(b"*"), None),
        None => (Bytes::new(), Some(None)),
        Some(Value::String(flat)) => (flat.clone(), Some(found.cloned())),
        Some(Value::List(_)) => (word(b"list"), None),
    };
    let bare = |ttl| [Bytes::new(), word(b"0"), word(ttl), word(b"0"), word(b"0"), Bytes::new()];
    let ([value, head, ttl, first, last, back], left) = match change {
        Change::Keep => (bare(b"keep"), same),
        Change::Remove => (bare(b"remove"), Some(None)),
        Change::Put { value, ttl } => {
            let next = Encoded::new(&value);
            let number = |number: usize| Bytes::from(number.to_string());
            let is_list = next.head != 0;
            let (head, ttl_ms) = (number(next.head), request.ttl_ms(ttl).to_string().into());
            let found = found.map_or(&[][..], |found| found.flat());
            let Edit { kept, front, back } = Edit::new(found, next);
            let (first, last) = kept.unwrap_or_default();
            let front = Bytes::from(front);
            let left = (!is_list).then(|| Some(Value::String(front.clone())));
            ([front, head, ttl_ms, number(first), number(last), back.into()], left)
        }
    };
    ([read, value, head, ttl, first, last, back], left)
}

/// Waits about as long as another client takes for a swap.
pub(crate) async fn pause() {
    sleep(Duration::from_micros(500 + random() % 1_000)).await;
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
