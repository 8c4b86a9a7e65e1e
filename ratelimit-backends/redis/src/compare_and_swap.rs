//! Reads the values, applies the core's step, and swaps in what it leaves if nothing has changed.
//!
//! This is for cases that are too rare for a script to restate them: states under other numbers, of
//! other versions or algorithms, with a block around them, or that are none at all; and resets,
//! blocks, penalties and refunds by receipt.
//!
//! A script is always faster than a read and a swap, so beside many spenders no swap would ever
//! find what was read. A caller that has lost once therefore *reserves* the values when it reads
//! them: until its swap, or for a second if it is never heard of again, other clients wait.
//! Callers of one runtime take turns, in the order in which they come.
//!
//! Two processes with other numbers on one key, as in a rolling deploy, would swap it at every check.
//! They share it by time instead: a process that finds the other's numbers lets it go on for a while
//! before it swaps, and then its own checks go by script for as long.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    iter,
    time::Duration,
};

use ratelimit_backend::{
    BackendError, ErrorKind,
    transact::{Change, Entry, decide},
};
use ratelimit_core::{
    Action, Batch,
    store::{Decisions, Record},
};
use tokio::time::{Instant, sleep};

use crate::{
    connection::client::{Bytes, Reply},
    encoding::{self, Encoded},
    error::protocol_error,
    eval::{self, Evaluated},
    list_diff::Edit,
    request::Request,
    script::SWAP,
    stored_values::{self, Value},
    wait_queue::Turn,
};

/// Decides until a script or a swap succeeds, or the deadline has passed.
pub(crate) async fn run(
    request: &Request,
    batch: Batch<'_>,
    action: Action,
    mut evaluated: Evaluated,
    mut begun: Instant,
) -> Result<Decisions, BackendError> {
    let is_scripted = eval::is_scripted(batch, action);
    let mut turn = None;
    // A look at other numbers ends in a swap; so the callers of this runtime leave it to the first.
    let mut is_left_to_first = action != Action::Peek;
    while Instant::now() < request.deadline {
        match evaluated {
            Evaluated::Decided(decisions) => return Ok(decisions),
            Evaluated::Reserved => pause().await,
            Evaluated::Changed if is_left_to_first => {
                is_left_to_first = false;
                turn = next_turn(request, is_scripted, begun.elapsed()).await?;
            }
            Evaluated::NotOwn | Evaluated::Outside(_) | Evaluated::Changed => {
                begun = Instant::now();
                let mode = match turn {
                    Some(_) => Mode::Reserve,
                    None if is_scripted => Mode::Look,
                    None => Mode::Swap,
                };
                if let Some(decisions) = attempt(request, batch, action, mode).await? {
                    return Ok(decisions);
                }
                turn = match turn {
                    None => next_turn(request, is_scripted, begun.elapsed()).await?,
                    Some(turn) => {
                        pause().await;
                        Some(turn)
                    }
                };
            }
        }
        // Another caller may have changed the values to this policy's own numbers.
        begun = Instant::now();
        evaluated = eval::run(request, batch, action).await?;
    }
    Err(BackendError::not_applied(ErrorKind::Timeout).with_source(Contended))
}

/// The reach of an attempt.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Mode {
    /// It decides only if nothing changes.
    Look,
    /// It swaps, and may find that another caller was faster.
    Swap,
    /// It keeps other clients away between the read and the swap.
    Reserve,
}

/// Waits for a turn. Where a script may do it by then, because the caller before has changed the
/// numbers, there is none; and who has the first lets those of the other numbers go on for a while,
/// some times as long as a round trip.
async fn next_turn(
    request: &Request,
    is_scripted: bool,
    round_trip: Duration,
) -> Result<Option<Turn>, BackendError> {
    let (turn, has_waited) = request.turn().await?;
    if !is_scripted {
        return Ok(Some(turn));
    }
    if has_waited {
        return Ok(None);
    }
    let left = request.deadline.saturating_duration_since(Instant::now());
    sleep((SLICE * round_trip).min(left / 4)).await;
    Ok(Some(turn))
}

/// The round trips for which one process leaves a key to the other.
const SLICE: u32 = 8;

/// Waits about as long as another client takes for a swap.
async fn pause() {
    sleep(Duration::from_micros(500 + random() % 1_000)).await;
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Reads, decides and swaps; `None` if another caller was faster, or has reserved a value.
async fn attempt(
    request: &Request,
    batch: Batch<'_>,
    action: Action,
    mode: Mode,
) -> Result<Option<Decisions>, BackendError> {
    let token = match mode {
        Mode::Look => Bytes::new(),
        Mode::Swap | Mode::Reserve => random().to_be_bytes().to_vec().into(),
    };
    let Some((now, found)) =
        stored_values::read(request, action, &token, mode == Mode::Reserve).await?
    else {
        return Ok(None);
    };
    let entries = batch.slots().zip(&found).map(|(slot, found)| {
        let flat = found.as_ref().map(Value::flat);
        Entry::new(action, flat.map(|flat| encoding::read(flat, None, slot.policy)))
    });
    let entries: Vec<_> = entries.collect::<Result<_, _>>()?;
    let (changes, decisions) = decide(batch, action, &entries, now)?;
    let is_list = |found: &Option<Value>| matches!(found, Some(Value::List(_)));
    let is_reserved = mode == Mode::Reserve || mode == Mode::Swap && found.iter().any(is_list);
    if !is_reserved && changes.iter().all(|change| matches!(change, Change::Keep)) {
        return Ok(Some(decisions));
    }
    if mode == Mode::Look {
        return Ok(None);
    }
    let changes = iter::zip(&found, changes);
    let arguments =
        changes.flat_map(|(found, change)| arguments(request, action, found.as_ref(), change));
    let arguments = iter::once(token).chain(arguments).collect();
    match request.run(&SWAP, arguments, true).await? {
        Reply::Integer(swapped) => Ok((swapped == 1).then_some(decisions)),
        _ => Err(protocol_error(true)),
    }
}

/// One key's arguments as the script takes them. A reset compares only where it stores: it removes
/// everything else, whatever it is.
fn arguments(
    request: &Request,
    action: Action,
    found: Option<&Value>,
    change: Change<Record>,
) -> [Bytes; 7] {
    let word = Bytes::from_static;
    let stores = matches!(change, Change::Put { .. });
    let read = match found {
        _ if action == Action::Reset && !stores => word(b"*"),
        None => Bytes::new(),
        Some(Value::String(flat)) => flat.clone(),
        Some(Value::List(_)) => word(b"list"),
    };
    let bare = |ttl| [Bytes::new(), word(b"0"), word(ttl), word(b"0"), word(b"0"), Bytes::new()];
    let [value, head, ttl, first, last, back] = match change {
        Change::Keep => bare(b"keep"),
        Change::Remove => bare(b"remove"),
        Change::Put { value, ttl } => {
            let next = Encoded::new(&value);
            let number = |number: usize| Bytes::from(number.to_string());
            let (head, ttl_ms) = (number(next.head), request.ttl_ms(ttl).to_string().into());
            let found = found.map_or(&[][..], |found| found.flat());
            let Edit { kept, front, back } = Edit::new(found, next);
            let (first, last) = kept.unwrap_or_default();
            [front.into(), head, ttl_ms, number(first), number(last), back.into()]
        }
    };
    [read, value, head, ttl, first, last, back]
}

/// Every attempt failed until the deadline.
#[derive(Debug, thiserror::Error)]
#[error("others were faster until the deadline")]
struct Contended;
