//! Reads the values, applies the core's step, and swaps in what it leaves if nothing has changed.
//!
//! This is for cases that are too rare for a script to restate them: states under other numbers, of
//! other versions or algorithms, with a block around them, or that are none at all; and resets,
//! blocks, penalties and refunds by receipt.
//!
//! A script is always faster than a read and a swap, so beside many spenders no swap would ever
//! find what was read. A caller that has lost once therefore *reserves* the values when it reads
//! them: until its swap, or for [`LEASE_MAX`] if it is never heard of again, other clients wait.
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
    Action, Batch, Timestamp,
    store::{Decisions, Record},
};
use tokio::time::{Instant, sleep};

use crate::{
    connection::client::{Bytes, Reply},
    encoding::{self, Encoded},
    error::protocol_error,
    eval::{self, Evaluated},
    request::Request,
    script::{READ, SWAP},
    turns::Turn,
};

/// Decides until a script or a swap succeeds, or the deadline has passed.
pub(crate) async fn run(
    request: &Request,
    batch: Batch<'_>,
    action: Action,
    mut evaluated: Evaluated,
) -> Result<Decisions, BackendError> {
    let is_scripted = eval::is_scripted(batch, action);
    let mut turn = None;
    while Instant::now() < request.deadline {
        match evaluated {
            Evaluated::Decided(decisions) => return Ok(decisions),
            Evaluated::Reserved => pause().await,
            Evaluated::NotOwn => {
                let begun = Instant::now();
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
const SLICE: u32 = 4;

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
        Mode::Reserve => random().to_be_bytes().to_vec().into(),
        Mode::Look | Mode::Swap => Bytes::new(),
    };
    let Some((now, found)) = read(request, action, token.clone()).await? else { return Ok(None) };
    if found.len() != request.keys.len() {
        return Err(protocol_error(false));
    }
    let entries = batch.slots().zip(&found).map(|(slot, found)| {
        let decoded = found.as_ref().map(|found| encoding::read(found, None, slot.policy));
        Entry::new(action, decoded)
    });
    let entries: Vec<_> = entries.collect::<Result<_, _>>()?;
    let (changes, decisions) = decide(batch, action, &entries, now)?;
    if token.is_empty() && changes.iter().all(|change| matches!(change, Change::Keep)) {
        return Ok(Some(decisions));
    }
    if mode == Mode::Look {
        return Ok(None);
    }
    let changes = iter::zip(found, changes);
    let arguments = changes
        .flat_map(|(found, change)| arguments(request, action, found.unwrap_or_default(), change));
    let arguments = iter::once(token).chain(arguments).collect();
    match request.run(&SWAP, arguments, true).await? {
        Reply::Integer(swapped) => Ok((swapped == 1).then_some(decisions)),
        _ => Err(protocol_error(true)),
    }
}

type Values = Vec<Option<Bytes>>;

/// The time, and the values under the keys at that time; `None` if another client has reserved one.
async fn read(
    request: &Request,
    action: Action,
    token: Bytes,
) -> Result<Option<(Timestamp, Values)>, BackendError> {
    let lease = request.deadline.saturating_duration_since(Instant::now());
    let lease_ms = lease.clamp(LEASE_MIN, LEASE_MAX).as_millis().to_string();
    // A reset forgets what others are changing, too.
    let reads_reserved = matches!(action, Action::Peek | Action::Reset);
    let reads_reserved = Bytes::from_static(if reads_reserved { b"1" } else { b"0" });
    let arguments = vec![request.time()?, token, lease_ms.into(), reads_reserved];
    let reply = request.run(&READ, arguments, false).await?;
    let (now, values) = parse(reply).ok_or_else(|| protocol_error(false))?;
    Ok((!values.is_empty()).then_some((now, values)))
}

/// The longest time for which a client that has gone keeps others from a key.
const LEASE_MAX: Duration = Duration::from_secs(1);

const LEASE_MIN: Duration = Duration::from_millis(1);

/// The time, and the values under the keys at that time.
pub(crate) fn parse(reply: Reply) -> Option<(Timestamp, Vec<Option<Bytes>>)> {
    let Reply::Array(parts) = reply else { return None };
    let mut parts = parts.into_iter();
    let Reply::Integer(now) = parts.next()? else { return None };
    let now = Timestamp::from_micros(u64::try_from(now).ok()?)?;
    let value = |part| if let Reply::Bytes(bytes) = part { Some(bytes) } else { None };
    Some((now, parts.map(value).collect()))
}

/// One key's arguments as the script takes them. A reset compares only where it stores: it removes
/// everything else, whatever it is.
fn arguments(
    request: &Request,
    action: Action,
    found: Bytes,
    change: Change<Record>,
) -> [Bytes; 4] {
    let word = Bytes::from_static;
    let stores = matches!(change, Change::Put { .. });
    let found = if action == Action::Reset && !stores { word(b"*") } else { found };
    match change {
        Change::Keep => [found, Bytes::new(), word(b"0"), word(b"keep")],
        Change::Remove => [found, Bytes::new(), word(b"0"), word(b"remove")],
        Change::Put { value, ttl } => {
            let Encoded { flat, head } = Encoded::new(&value);
            let ttl_ms = request.ttl_ms(ttl).to_string();
            [found, flat.into(), head.to_string().into(), ttl_ms.into()]
        }
    }
}

/// Every attempt failed until the deadline.
#[derive(Debug, thiserror::Error)]
#[error("others were faster until the deadline")]
struct Contended;
