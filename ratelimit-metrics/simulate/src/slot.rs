//! The state of one client under one policy, stepped by the core.

use std::slice;

use ratelimit_core::{
    Action, Batch, Check, CostError, Decision, Key, Micros, Policy, Timestamp,
    store::{CompactState, Record, apply},
};

/// A state that lives as long as the simulation. Most fit into three words; the others are records.
#[derive(Debug, Default)]
pub(crate) enum Slot {
    /// Of a client that has spent nothing yet.
    #[default]
    New,
    Compact(CompactState),
    Boxed(Box<Option<Record>>),
}

impl Slot {
    /// Spends `cost` permits, as any store does. `sensor` is the record that all clients of the
    /// policy share, where they share one.
    ///
    /// # Errors
    ///
    /// If the policy can never admit `cost`.
    // Inlined, the parts of a decision that nobody looks at are not computed.
    #[inline(always)]
    pub(crate) fn spend(
        &mut self,
        (policy, sensor): (&Policy, &mut Option<Record>),
        now: Timestamp,
        cost: u64,
    ) -> Result<Decision, CostError> {
        if let Self::Compact(state) = self
            && let Some(step) = state.spend(policy, policy.cost(cost)?, now)
        {
            return Ok(step.decision(policy, now));
        }
        let check = Check::new(policy, nobody(), cost)?;
        Ok(self.spend_record(&check, sensor, now))
    }

    #[inline(never)]
    fn spend_record(
        &mut self,
        check: &Check<'_>,
        sensor: &mut Option<Record>,
        now: Timestamp,
    ) -> Decision {
        if check.policy().algorithm().shares_sensor() {
            let mut records = [self.take(), sensor.take()];
            let decision = step(check, &mut records, now);
            let [record, shared] = records;
            *self = Self::Boxed(Box::new(record));
            *sensor = shared;
            return decision;
        }
        if let Self::Boxed(record) = self {
            return step(check, slice::from_mut(&mut **record), now);
        }
        let mut record = None;
        let decision = step(check, slice::from_mut(&mut record), now);
        *self = match record.map(Record::into_compact) {
            None => Self::New,
            Some(Ok((_, state))) => Self::Compact(state),
            Some(Err(record)) => Self::Boxed(Box::new(Some(record))),
        };
        decision
    }

    fn take(&mut self) -> Option<Record> {
        if let Self::Boxed(record) = self { record.take() } else { None }
    }
}

/// The step looks at no key: a slot is the key's.
fn nobody() -> Key<'static> {
    Key::new(b"").expect("no bytes are few enough")
}

/// The permits that a new client of `policy` has left, and whether its times count by the microsecond.
pub(crate) fn when_new(policy: &Policy) -> Option<(u64, bool)> {
    let check = Check::new(policy, nobody(), 1).ok()?;
    let first = Timestamp::from_micros(1_000_000)?;
    let look = |action, record: &mut Option<Record>, at| {
        apply(Batch::one(&check), action, slice::from_mut(record), at).ok()?.into_first()
    };
    let new = look(Action::Peek, &mut None, first)?;
    let mut record = None;
    let spent = look(Action::Spend, &mut record, first)?;
    let later = look(Action::Peek, &mut record, first + Micros::new(1))?;
    Some((new.remaining, spent.reset_after - later.reset_after == Micros::new(1)))
}

fn step(check: &Check<'_>, records: &mut [Option<Record>], now: Timestamp) -> Decision {
    apply(Batch::one(check), Action::Spend, records, now)
        .ok()
        .and_then(|decisions| decisions.into_first())
        .expect("all records of a slot are of one policy, and one check has one decision")
}
