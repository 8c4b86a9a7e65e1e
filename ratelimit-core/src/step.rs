//! The step: old records in, new records and decisions out.
//!
//! A store calls [`apply`] with the records of a batch while nobody else can touch them, and
//! stores what it finds in their place afterwards. That is all a store has to do with limits.

use alloc::vec::Vec;
use core::ops::Deref;

use crate::{
    Action, Batch, Check, Decision, Outcome, Policy, StateError, Timestamp,
    decision::Standing,
    meter::{self, Meter},
    state::block::Block,
    state::sensor::Sensor,
    store::Record,
};

/// Applies `action` to `records`, which holds one place for each of [`Batch::slots`], in order.
///
/// Spending charges every check or none; whether it was denied or not, each place then holds
/// what is to be stored: `None` where nothing is. A denial leaves a record as it was, but for
/// times later than `now`, which are pulled back to it, and for numbers that have changed since
/// it was written. After a peek the records are to be thrown away.
///
/// A shared load sensor is read once: all checks of a batch find the same load.
///
/// # Errors
///
/// If a record is of another algorithm than its policy. Nothing has changed then.
pub fn apply(
    batch: Batch<'_>,
    action: Action,
    records: &mut [Option<Record>],
    now: Timestamp,
) -> Result<Decisions, StateError> {
    if action != Action::Reset {
        for (slot, record) in batch.slots().zip(records.iter()) {
            meter::verify(slot, record.as_ref())?;
        }
    }
    match (batch.checks(), &mut *records) {
        ([check], [record]) => Ok(Decisions(Repr::One([one(check, action, record, now)]))),
        _ => Ok(Decisions(Repr::Many(several(&batch, action, records, now)))),
    }
}

/// The decisions of a batch, one for each check, in order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Decisions(Repr);

/// One decision, the common case, is kept in place.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Repr {
    One([Decision; 1]),
    Many(Vec<Decision>),
}

impl Decisions {
    /// The first of them.
    #[must_use]
    #[inline(always)]
    pub fn into_first(self) -> Option<Decision> {
        match self.0 {
            Repr::One([decision]) => Some(decision),
            Repr::Many(decisions) => first_of(&decisions),
        }
    }
}

/// All of them; several are handed over as they are.
impl From<Decisions> for Vec<Decision> {
    fn from(decisions: Decisions) -> Self {
        match decisions.0 {
            Repr::One(decision) => decision.into(),
            Repr::Many(decisions) => decisions,
        }
    }
}

/// Away from the common case, which the compiler then keeps in registers.
#[cold]
fn first_of(decisions: &[Decision]) -> Option<Decision> {
    decisions.first().copied()
}

impl Deref for Decisions {
    type Target = [Decision];

    fn deref(&self) -> &[Decision] {
        match &self.0 {
            Repr::One(decision) => decision,
            Repr::Many(decisions) => decisions,
        }
    }
}

impl From<Decision> for Decisions {
    #[inline(always)]
    fn from(decision: Decision) -> Self {
        Self(Repr::One([decision]))
    }
}

impl FromIterator<Decision> for Decisions {
    fn from_iter<I: IntoIterator<Item = Decision>>(decisions: I) -> Self {
        Self(Repr::Many(decisions.into_iter().collect()))
    }
}

/// One check alone, of a policy without a shared sensor.
fn one(check: &Check<'_>, action: Action, record: &mut Option<Record>, now: Timestamp) -> Decision {
    let mut entry = Entry::open(check, action, record.take(), now);
    let outcome = entry.ask(action, now);
    if is_allow(outcome) {
        entry.act(action, now);
        entry.record_load(action, now);
    }
    let decision = entry.standing(now).with(outcome, now);
    *record = entry.close(action, now);
    decision
}

fn several(
    batch: &Batch<'_>,
    action: Action,
    records: &mut [Option<Record>],
    now: Timestamp,
) -> Vec<Decision> {
    let (records, sensors) = records.split_at_mut(batch.checks().len().min(records.len()));
    let mut shared = Shared::open(batch, sensors, now);
    let open =
        |(check, record): (_, &mut Option<Record>)| Entry::open(check, action, record.take(), now);
    let mut entries: Vec<_> = batch.checks().iter().zip(&mut *records).map(open).collect();

    let ask = |entry: &mut Entry<'_>| shared.lend(entry, |entry| entry.ask(action, now));
    let outcomes: Vec<_> = entries.iter_mut().map(ask).collect();
    if outcomes.iter().copied().all(is_allow) {
        for entry in &mut entries {
            shared.lend(entry, |entry| entry.act(action, now));
        }
        for entry in &mut entries {
            shared.lend(entry, |entry| entry.record_load(action, now));
        }
    }
    let mut standing =
        |entry: &mut Entry<'_>| -> Standing { shared.lend(entry, |entry| entry.standing(now)) };
    let decision = |(entry, outcome)| standing(entry).with(outcome, now);
    let decisions = entries.iter_mut().zip(outcomes).map(decision).collect();

    for (entry, record) in entries.into_iter().zip(records) {
        *record = entry.close(action, now);
    }
    shared.close(action, sensors);
    decisions
}

const fn is_allow(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Allow { .. })
}

/// One check, and the meter that answers it.
struct Entry<'a> {
    check: &'a Check<'a>,
    meter: Meter<'a>,
    block: Option<Block>,
    /// The policy that the record held, to be kept: a clone is not free where threads meet.
    under: Option<Policy>,
    /// A record that is as good as none. Whoever does not spend, but changes it, begins a new one, as
    /// if it had been dropped: else what is over would count again if the clock stepped back.
    expired: Option<Record>,
}

impl<'a> Entry<'a> {
    fn open(check: &'a Check<'a>, action: Action, record: Option<Record>, now: Timestamp) -> Self {
        let policy = check.policy();
        let mut record = record.filter(|_| action != Action::Reset);
        let begins_anew = matches!(action, Action::Refund | Action::Penalize | Action::Block(_));
        let is_expired = |record: &mut Record| {
            record.rewind(now);
            begins_anew && record.lifetime(now).is_zero()
        };
        let expired = record.take_if(is_expired);
        let Some(Record { under, state }) = record else {
            let meter = Meter::open(policy, policy, None, now);
            return Self { check, meter, block: None, under: None, expired };
        };
        let (state, block) = state.unblock(now);
        let meter = Meter::open(policy, &under, Some(state), now);
        let under = if under.is(policy) { under } else { policy.clone() };
        Self { check, meter, block, under: Some(under), expired }
    }

    fn ask(&self, action: Action, now: Timestamp) -> Outcome {
        match action {
            Action::Spend | Action::Peek => match self.block {
                None => self.meter.outcome(now, self.check.cost()),
                Some(block) => {
                    block.outcome(now, self.meter.outcome(block.until, self.check.cost()))
                }
            },
            Action::Refund | Action::Reset | Action::Penalize | Action::Block(_) => Outcome::ALLOW,
        }
    }

    fn act(&mut self, action: Action, now: Timestamp) {
        let cost = self.check.cost();
        match action {
            Action::Peek | Action::Reset => {}
            Action::Spend => self.meter.charge(now, cost),
            Action::Penalize => {
                if let Some(cost) = cost.at_most(self.meter.standing(now).remaining) {
                    self.meter.charge(now, cost);
                }
            }
            Action::Refund if !self.is_spent(now) => {}
            Action::Refund => match self.check.receipt() {
                None => self.meter.refund(now, cost),
                Some(receipt) if receipt.at <= now => self.meter.settle(now, cost, receipt),
                Some(_) => {}
            },
            Action::Block(length) if length.is_zero() => {}
            Action::Block(length) => self.block = Some(Block::begin(now, length, self.block)),
        }
    }

    fn record_load(&mut self, action: Action, now: Timestamp) {
        if action == Action::Spend {
            self.meter.record_load(now);
        }
    }

    /// Whether there is anything to give back.
    fn is_spent(&self, now: Timestamp) -> bool {
        self.under.is_some() && !self.meter.standing(now).reset_after.is_zero()
    }

    fn standing(&self, now: Timestamp) -> Standing {
        let standing = self.meter.standing(now);
        match self.block {
            None => standing,
            Some(block) => block.standing(now, standing),
        }
    }

    /// What is to be stored. A key becomes known when it spends, begins to fill, or is blocked; a
    /// reset makes it unknown.
    fn close(self, action: Action, now: Timestamp) -> Option<Record> {
        let Self { check, meter, block, under, expired } = self;
        let spends = matches!(action, Action::Spend | Action::Penalize);
        let becomes_known = || block.is_some() || spends && !meter.lifetime(now).is_zero();
        match under.or_else(|| becomes_known().then(|| check.policy().clone())) {
            Some(under) => Some(Record { under, state: meter.close().with_block(block) }),
            None => expired,
        }
    }
}

/// The load sensors that keys share.
struct Shared<'a>(Vec<SharedSensor<'a>>);

struct SharedSensor<'a> {
    policy: &'a Policy,
    sensor: Sensor,
    is_known: bool,
}

impl<'a> Shared<'a> {
    fn open(batch: &Batch<'a>, records: &mut [Option<Record>], now: Timestamp) -> Self {
        let open = |(policy, record): (&'a Policy, &mut Option<Record>)| SharedSensor {
            policy,
            is_known: record.is_some(),
            sensor: meter::open_sensor(policy, record.take(), now),
        };
        Self(batch.sensors().into_iter().zip(records).map(open).collect())
    }

    /// Runs `work` on an entry that holds the sensor of its policy, if that is shared.
    fn lend<T>(&mut self, entry: &mut Entry<'_>, work: impl FnOnce(&mut Entry<'_>) -> T) -> T {
        let name = entry.check.policy().name();
        match self.0.iter_mut().find(|shared| shared.policy.name() == name) {
            None => work(entry),
            Some(SharedSensor { sensor, .. }) => {
                entry.meter.swap_sensor(sensor);
                let result = work(entry);
                entry.meter.swap_sensor(sensor);
                result
            }
        }
    }

    /// Resetting a key leaves the load that all keys share.
    fn close(self, action: Action, records: &mut [Option<Record>]) {
        for (SharedSensor { policy, sensor, is_known }, record) in self.0.into_iter().zip(records) {
            let is_kept = is_known || action == Action::Spend;
            *record = is_kept.then(|| meter::close_sensor(policy, sensor));
        }
    }
}
