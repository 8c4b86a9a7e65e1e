//! One script decides and writes; the core works the decisions out of what the script found.

use std::mem;

use ratelimit_backend::BackendError;
use ratelimit_core::{
    Action, Batch, Check, Decision, Timestamp,
    store::{Decisions, Record, Slot, apply, words_beside_log},
};

use crate::{
    coalesce::BatchKey,
    connection::client::{Bytes, Reply},
    encoding,
    error::protocol_error,
    request::Request,
    script::{self, Script},
    stored_values::Values,
};

/// The outcome of a script.
pub(crate) enum Evaluated {
    Decided(Decisions),
    /// Nothing was done: a value is not of the policy's own numbers, or no script knows the action.
    NotOwn,
    /// Nothing was done: a value is under other numbers of the policy's algorithm. It is told where it is
    /// a string, and the only one.
    Changed(Option<Values>),
    /// Nothing was done: another client is changing a value.
    Reserved,
    /// Nothing was done: the terms were not of the server's time, which is this.
    Outside(Timestamp),
}

/// Runs the script; once more, if its terms were of another time than the server's.
pub(crate) async fn run(
    request: &Request,
    batch: Batch<'_>,
    action: Action,
) -> Result<Evaluated, BackendError> {
    for _ in 0..GUESSES_MAX {
        let outcome = run_at(request, batch, action, request.coalescer.clock.guess()?).await?;
        let Evaluated::Outside(now) = outcome else { return Ok(outcome) };
        request.coalescer.clock.learn(now);
    }
    Ok(Evaluated::NotOwn)
}

/// The second guess is the server's own time. If that is not good enough either, windows are too short
/// for scripts.
const GUESSES_MAX: usize = 2;

/// Runs the script with the terms of a time.
async fn run_at(
    request: &Request,
    batch: Batch<'_>,
    action: Action,
    about: Timestamp,
) -> Result<Evaluated, BackendError> {
    let Some(Step { script, word, mut words }) = Step::new(batch, action, about) else {
        return Ok(Evaluated::NotOwn);
    };
    let reply = match (action, &mut words[..]) {
        (Action::Spend | Action::Take, [header, terms]) => {
            let [header, terms] = [header, terms].map(mem::take);
            request.spend(BatchKey { script, word, header }, terms).await?
        }
        _ => {
            let arguments = [request.time()?, Bytes::from_static(word.as_bytes())];
            let arguments = arguments.into_iter().chain(words).collect();
            request.run(script, arguments, charges(action)).await?
        }
    };
    decide(&reply, batch, action)
}

/// A script, and what it is told beside the time.
pub(crate) struct Step {
    pub(crate) script: &'static Script,
    /// The scripts' word for the action.
    pub(crate) word: &'static str,
    /// The header and the terms of each slot.
    pub(crate) words: Vec<Bytes>,
}

impl Step {
    /// The step of a batch at about a time, if scripts know the action.
    pub(crate) fn new(batch: Batch<'_>, action: Action, about: Timestamp) -> Option<Self> {
        let word = word(batch, action)?;
        let headers: Vec<_> = batch.slots().map(|slot| encoding::framed(&slot.header())).collect();
        let kinds = headers.iter().map(|header| encoding::kind(header));
        let slots: Vec<_> = kinds.zip(batch.slots().map(|slot| slot.terms(about))).collect();
        let script = script::step(&slots);
        let mut words = Vec::with_capacity(2 * slots.len());
        for ((index, slot), (header, (_, terms))) in
            batch.slots().enumerate().zip(headers.into_iter().zip(slots))
        {
            let terms = terms.into_iter().map(|(_, term)| term);
            let terms = encoding::packed(terms.chain(request_terms(batch, index, slot)));
            words.extend([header, terms].map(Bytes::from));
        }
        Some(Self { script, word, words })
    }
}

/// Works the decisions out of a reply.
pub(crate) fn decide(
    reply: &Reply,
    batch: Batch<'_>,
    action: Action,
) -> Result<Evaluated, BackendError> {
    let no_reply = || protocol_error(charges(action));
    let reply = StepReply::parse(reply, batch.slots().count()).ok_or_else(no_reply)?;
    let admitted = match reply.verdict {
        Verdict::Denied => false,
        Verdict::Admitted => true,
        Verdict::NotOwn => return Ok(Evaluated::NotOwn),
        Verdict::Changed => {
            let seen = match reply.found[..] {
                [flat] if !flat.is_empty() => Some(Values::one(reply.now, flat)),
                _ => None,
            };
            return Ok(Evaluated::Changed(seen));
        }
        Verdict::Reserved => return Ok(Evaluated::Reserved),
        Verdict::Outside => return Ok(Evaluated::Outside(reply.now)),
    };
    let records = batch.slots().zip(reply.found).map(|(slot, found)| record(slot, found));
    let mut records: Vec<_> = records.collect::<Option<_>>().ok_or_else(no_reply)?;
    let decisions = apply(batch, action, &mut records, reply.now)?;
    // The script has decided. Where the core would have decided otherwise, one of them is wrong.
    if decisions.iter().all(Decision::is_allowed) != admitted {
        return Err(no_reply());
    }
    Ok(Evaluated::Decided(decisions))
}

fn charges(action: Action) -> bool {
    action != Action::Peek
}

/// True if there is a script for the action.
pub(crate) fn is_scripted(batch: Batch<'_>, action: Action) -> bool {
    word(batch, action).is_some()
}

/// The scripts' word for an action. Of receipts they know those of permits in flight.
fn word(batch: Batch<'_>, action: Action) -> Option<&'static str> {
    let holds = |check: &Check<'_>| check.policy().algorithm().holds_permits();
    let is_known = |check: &Check<'_>| check.receipt().is_none() || holds(check);
    match action {
        Action::Spend => Some("spend"),
        Action::Take => Some("take"),
        Action::Peek => Some("peek"),
        Action::Refund if batch.checks().iter().all(is_known) => Some("refund"),
        Action::Extend if batch.checks().iter().all(holds) => Some("extend"),
        _ => None,
    }
}

/// The numbers that follow a policy's terms: for a key, the cost; for one whose policy measures the
/// load, the index of its shared sensor among all slots, counted from one, or zero; for one whose permits
/// are held, the number of the hold that the receipt is of, or zero.
fn request_terms<'a>(
    batch: Batch<'a>,
    index: usize,
    slot: Slot<'a>,
) -> impl Iterator<Item = u64> + use<'a> {
    let check = batch.checks().get(index);
    let cost = check.map(|check| check.cost().get());
    let sensor = check.filter(|_| slot.policy.algorithm().measures_load()).map(|_| {
        let name = slot.policy.name();
        let mut slots = batch.slots();
        let sensor = slots.position(|slot| slot.key.is_none() && slot.policy.name() == name);
        sensor.map_or(0, |index| index as u64 + 1)
    });
    let hold = check.filter(|check| check.policy().algorithm().holds_permits()).map(Check::hold);
    cost.into_iter().chain(sensor).chain(hold)
}

/// The first byte of a reply.
enum Verdict {
    Denied,
    Admitted,
    NotOwn,
    Reserved,
    Outside,
    Changed,
}

/// The reply of a step: one part, or for several checks one, and one for each slot.
struct StepReply<'a> {
    verdict: Verdict,
    now: Timestamp,
    /// The bytes that were found in each slot; empty if nothing was.
    found: Vec<&'a [u8]>,
}

impl<'a> StepReply<'a> {
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
        let verdict = match verdict {
            0 => Verdict::Denied,
            1 => Verdict::Admitted,
            2 => Verdict::NotOwn,
            3 => Verdict::Reserved,
            4 => Verdict::Outside,
            5 => Verdict::Changed,
            _ => return None,
        };
        let now = encoding::word(now.try_into().ok()?);
        (found.len() == slots).then_some(Self { verdict, now: Timestamp::from_micros(now)?, found })
    }
}

/// The verdict proper, and the time.
const VERDICT_BYTES: usize = 1 + encoding::WORD_BYTES;

/// The record that was found in a slot; the outer `None` if the bytes are no record.
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
