//! Reads the values, applies the core's step, and swaps in what it leaves if nothing has changed.
//!
//! This is for cases that are too rare for a script to restate them: states under other numbers, of
//! other versions or algorithms, with a block around them, or that are none at all; and resets,
//! blocks, penalties and refunds by receipt.

use std::iter;

use ratelimit_backend::{
    BackendError,
    transact::{Change, CompareAndSwap, Entry, transact},
};
use ratelimit_core::{
    Action, Batch, Timestamp,
    store::{Decisions, Record},
};

use crate::{
    coalesce::Request,
    connection::client::{Bytes, Reply},
    encoding::{self, Encoded},
    error::protocol_error,
    script::{READ, SWAP},
};

pub(crate) async fn run(
    request: &Request,
    batch: Batch<'_>,
    action: Action,
) -> Result<Decisions, BackendError> {
    transact(batch, action, &mut Values { request, batch, action, found: Vec::new() }).await
}

/// The values under the keys of a batch, as they were last read.
struct Values<'a> {
    request: &'a Request,
    batch: Batch<'a>,
    action: Action,
    found: Vec<Option<Bytes>>,
}

impl CompareAndSwap for Values<'_> {
    async fn load(&mut self) -> Result<(Vec<Entry>, Timestamp), BackendError> {
        let reply = self.request.run(&READ, vec![self.request.time()?], false).await?;
        let (now, found) = parse(reply).ok_or_else(|| protocol_error(false))?;
        self.found = found;
        let slots = self.batch.slots().zip(&self.found);
        let entries = slots.map(|(slot, found)| {
            let decoded = found.as_ref().map(|found| encoding::read(found, None, slot.policy));
            Entry::new(self.action, decoded)
        });
        Ok((entries.collect::<Result<_, _>>()?, now))
    }

    async fn swap(&mut self, changes: Vec<Change<Record>>) -> Result<bool, BackendError> {
        if changes.iter().all(|change| matches!(change, Change::Keep)) {
            return Ok(true);
        }
        let found = self.found.drain(..);
        let arguments = iter::zip(found, changes).flat_map(|(found, change)| {
            arguments(self.request, self.action, found.unwrap_or_default(), change)
        });
        let arguments = arguments.collect();
        match self.request.run(&SWAP, arguments, true).await? {
            Reply::Integer(swapped) => Ok(swapped == 1),
            _ => Err(protocol_error(true)),
        }
    }
}

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
