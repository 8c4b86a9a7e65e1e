//! The short way: one script decides and writes, and the core says what that means.

use std::mem;

use fred::{bytes::Bytes, types::Value as Reply};
use ratelimit_backend::BackendError;
use ratelimit_core::{
    Action, Batch, Decision, Timestamp,
    store::{Decisions, Record, Slot, apply, words_beside_log},
};

use crate::{coalesce::Errand, redis::Turn, reply::nonsense, script, encoding};

/// Asks the server. `None` if nothing was done: because something stored is not the policy's own,
/// or because there is no script for the action.
pub(crate) async fn run(
    turn: &Turn<'_>,
    batch: Batch<'_>,
    action: Action,
) -> Result<Option<Decisions>, BackendError> {
    let Some(word) = word(batch, action) else { return Ok(None) };
    let headers: Vec<_> = batch.slots().map(|slot| encoding::framed(&slot.header())).collect();
    let script = script::step(headers.iter().filter_map(|header| encoding::kind(header)));

    let mut words = Vec::new();
    for ((index, slot), header) in batch.slots().enumerate().zip(headers) {
        let terms = encoding::packed(terms(batch, index, slot));
        words.extend([header, terms].map(Bytes::from));
    }
    let reply = match (action, &mut words[..]) {
        (Action::Spend, [header, terms]) => {
            let [header, terms] = [header, terms].map(mem::take);
            turn.share(Errand { script, header, terms }).await?
        }
        _ => {
            let words = words.into_iter().map(Reply::Bytes);
            let arguments = [turn.time()?, word.into()].into_iter().chain(words).collect();
            turn.run(script, arguments, charges(action)).await?
        }
    };
    decide(&reply, batch, action)
}

/// What a reply means.
pub(crate) fn decide(
    reply: &Reply,
    batch: Batch<'_>,
    action: Action,
) -> Result<Option<Decisions>, BackendError> {
    let charges = charges(action);
    let answer = Answer::parse(reply, batch.slots().count()).ok_or_else(|| nonsense(charges))?;
    let Some(admitted) = answer.admitted else { return Ok(None) };
    let records = batch.slots().zip(answer.found).map(|(slot, found)| record(slot, found));
    let mut records: Vec<_> = records.collect::<Option<_>>().ok_or_else(|| nonsense(charges))?;
    let decisions = apply(batch, action, &mut records, answer.now)?;
    // The script has decided. Where the core would not have decided so, one of them is wrong.
    if decisions.iter().all(Decision::is_allowed) != admitted {
        return Err(nonsense(charges));
    }
    Ok(Some(decisions))
}

fn charges(action: Action) -> bool {
    action != Action::Peek
}

/// What the scripts call an action. They know nothing of receipts.
fn word(batch: Batch<'_>, action: Action) -> Option<&'static str> {
    let has_receipt = batch.checks().iter().any(|check| check.receipt().is_some());
    match action {
        Action::Spend => Some("spend"),
        Action::Peek => Some("peek"),
        Action::Refund if !has_receipt => Some("refund"),
        _ => None,
    }
}

/// What the step of a slot computes with: the policy's terms; of a key, the cost; of an adaptive
/// hybrid's key, the place of its shared sensor among all slots, counted from one, or zero.
fn terms<'a>(
    batch: Batch<'a>,
    index: usize,
    slot: Slot<'a>,
) -> impl Iterator<Item = u64> + use<'a> {
    let check = batch.checks().get(index);
    let cost = check.map(|check| check.cost().get());
    let is_adaptive = slot.policy.algorithm().measures_load();
    let sensor = check.filter(|_| is_adaptive).map(|_| {
        let name = slot.policy.name();
        let mut slots = batch.slots();
        let sensor = slots.position(|slot| slot.key.is_none() && slot.policy.name() == name);
        sensor.map_or(0, |index| index as u64 + 1)
    });
    slot.terms().into_iter().map(|(_, term)| term).chain(cost).chain(sensor)
}

/// What a step replies: one part, or where there are several checks, one and one for each slot.
struct Answer<'a> {
    /// Whether all was admitted; `None` if nothing was done.
    admitted: Option<bool>,
    now: Timestamp,
    /// What was found in each slot; empty if nothing was.
    found: Vec<&'a [u8]>,
}

impl<'a> Answer<'a> {
    /// `None` if the reply makes no sense.
    fn parse(reply: &'a Reply, slots: usize) -> Option<Self> {
        let (verdict, found) = match reply {
            Reply::Array(parts) => {
                let mut parts = parts.iter().map(Reply::as_bytes);
                (parts.next()??, parts.collect::<Option<Vec<_>>>()?)
            }
            one => {
                let (verdict, found) = one.as_bytes()?.split_at_checked(VERDICT_BYTES)?;
                (verdict, vec![found])
            }
        };
        let (&verdict, now) = verdict.split_first()?;
        let admitted = match verdict {
            0 => Some(false),
            1 => Some(true),
            2 => None,
            _ => return None,
        };
        let now = encoding::word(now.try_into().ok()?);
        (found.len() == slots).then_some(Self {
            admitted,
            now: Timestamp::from_micros(now)?,
            found,
        })
    }
}

/// The verdict proper, and the time.
const VERDICT_BYTES: usize = 1 + encoding::WORD_BYTES;

/// The record that was found in a slot, if any was; `None` if it makes no sense.
fn record(slot: Slot<'_>, found: &[u8]) -> Option<Option<Record>> {
    if found.is_empty() {
        return Some(None);
    }
    let has_log = words_beside_log(&slot.header()).is_some();
    let (entries, flat) = if has_log {
        let (entries, flat) = found.split_first_chunk()?;
        (Some(encoding::word(entries)), flat)
    } else {
        (None, found)
    };
    encoding::read(flat, entries, slot.policy).ok().map(Some)
}
