//! Reads the values under the keys of a batch, and reserves them where they are to be swapped.

use std::{iter, time::Duration};

use ratelimit_backend::BackendError;
use ratelimit_core::Action;
use tokio::time::Instant;

use crate::{
    connection::client::{Bytes, Reply},
    encoding::ENTRY_BYTES,
    error::protocol_error,
    request::Request,
    script::READ,
    stored_values::{Found, Value, Values, parse},
};

/// Reads the time, and the values at that time; `None` if another client has reserved one. A token
/// reserves the lists among them for this client, and all others where it says so.
pub(crate) async fn read(
    request: &Request,
    action: Action,
    token: &Bytes,
    reserves_all: bool,
) -> Result<Option<Values>, BackendError> {
    let lease = request.deadline.saturating_duration_since(Instant::now());
    let lease_ms = lease.clamp(LEASE_MIN, LEASE_MAX).as_millis().to_string();
    let flag = |is_set| Bytes::from_static(if is_set { b"1" } else { b"0" });
    // A reset forgets what others are changing, too.
    let reads_reserved = flag(matches!(action, Action::Peek | Action::Reset));
    let reserves_all = flag(reserves_all);
    let arguments =
        vec![request.time()?, token.clone(), lease_ms.into(), reads_reserved, reserves_all];
    let reply = request.run(&READ, arguments, false).await?;
    let (now, found) = parse(reply).ok_or_else(|| protocol_error(false))?;
    if found.is_empty() {
        return Ok(None);
    }
    if found.len() != request.keys.len() {
        return Err(protocol_error(false));
    }
    let mut values = Vec::with_capacity(found.len());
    for (key, found) in iter::zip(&request.keys, found) {
        values.push(match found {
            Found::Nothing => None,
            Found::String(flat) => Some(Value::String(flat)),
            // It need not be read to be removed.
            Found::List if action == Action::Reset => Some(Value::List(NO_STATE)),
            Found::List => {
                let elements = request.elements(key).await?;
                let Some(flat) = join(&elements, token) else { return Ok(None) };
                Some(Value::List(flat))
            }
        });
    }
    Ok(Some(Values { now, found: values }))
}

/// The elements of a list, end to end, without a reservation; `None` if `token` should have reserved
/// it, and has not. A list that has gone since is none, too.
fn join(elements: &[Reply], token: &Bytes) -> Option<Bytes> {
    let (head, entries) = elements.split_first()?;
    let head = head.as_bytes()?;
    let reservation = head.first_chunk::<RESERVATION_BYTES>().filter(|found| found[0] == 0);
    if !token.is_empty() && !reservation.is_some_and(|found| found.ends_with(token)) {
        return None;
    }
    let head = &head[reservation.map_or(0, |found| found.len())..];
    let mut flat = Vec::with_capacity(head.len() + entries.len() * ENTRY_BYTES);
    flat.extend_from_slice(head);
    for entry in entries.iter().map(Reply::as_bytes) {
        match entry.filter(|entry| entry.len() == ENTRY_BYTES) {
            Some(entry) => flat.extend_from_slice(entry),
            None => return Some(NO_STATE),
        }
    }
    Some(flat.into())
}

/// The scripts' word for what is no state.
const NO_STATE: Bytes = Bytes::from_static(b"?");

/// As in the scripts.
const RESERVATION_BYTES: usize = 16;

/// The longest time for which a client that has gone keeps others from a key.
const LEASE_MAX: Duration = Duration::from_secs(1);

const LEASE_MIN: Duration = Duration::from_millis(1);
