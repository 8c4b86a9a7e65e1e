//! The step: old records in, new records and decisions out.
//!
//! A store calls [`apply`] with the records of a batch while nobody else can touch them, and
//! stores the records that it leaves. That is all a store has to do with limits.
//!
//! Records are changed where they lie: each is brought up to the present, then all outcomes are
//! looked at, and only if every check admits is anything charged. So nothing is ever undone.

use alloc::vec::Vec;
use core::slice;

use crate::{
    Action, Batch, CarryOver, Check, Cost, Decision, Outcome, Policy, StateError, Timestamp,
    algorithm::{Listed, definition::Definition, with_quota},
    request::Slot,
    state::{block::Block, record::Record, sensor::Sensor},
    store::decisions::Decisions,
};

/// Applies `action` to `records`, which holds one place for each of [`Batch::slots`], in order.
///
/// Spending charges every check or none; whether it was denied or not, each place then holds
/// the record to store, if any. A denial leaves a record as it was, but for times later than `now`,
/// which are pulled back to it, and for numbers that have changed since it was written. After a
/// peek the records are to be thrown away.
///
/// A shared load sensor is read once: all checks of a batch find the same load.
///
/// # Errors
///
/// If a record is of another algorithm than its policy, and has not expired. Nothing has changed then.
pub fn apply(
    batch: Batch<'_>,
    action: Action,
    records: &mut [Option<Record>],
    now: Timestamp,
) -> Result<Decisions, StateError> {
    if let ([check], Action::Spend, [record]) = (batch.checks(), action, &mut *records) {
        let decision = match record {
            Some(record) => record.spend(check, now),
            None => Record::begin(check, now).map(|(decision, begun)| {
                *record = begun;
                decision
            }),
        };
        if let Some(decision) = decision {
            return Ok(decision.into());
        }
    }
    apply_any(batch, action, records, now)
}

/// The same for every action, batch and record.
fn apply_any(
    batch: Batch<'_>,
    action: Action,
    records: &mut [Option<Record>],
    now: Timestamp,
) -> Result<Decisions, StateError> {
    if action != Action::Reset {
        for (slot, record) in batch.slots().zip(records.iter()) {
            verify(slot, record.as_ref(), now)?;
        }
    }
    let turn = Turn { action, now };
    let (records, sensors) = records.split_at_mut(batch.checks().len().min(records.len()));
    match (batch.checks(), &mut *records, &*sensors) {
        ([check], [record], []) => {
            let mut entry = Entry::open(check, record, turn);
            step(slice::from_mut(&mut entry), &mut Shared::default(), turn);
            let decision = entry.decision(turn);
            entry.close(turn);
            Ok(decision.into())
        }
        _ => Ok(several(&batch, records, sensors, turn)),
    }
}

impl Record {
    /// Spends as [`apply`] does for one check, where only a state is to be stepped: no sensor is shared,
    /// and there is neither a debt nor a block. A state under other numbers is carried over.
    ///
    /// `None` says that nothing has changed, and that [`apply`] has to decide.
    #[inline]
    pub fn spend(&mut self, check: &Check<'_>, now: Timestamp) -> Option<Decision> {
        let policy = check.policy();
        if !self.is_plain_at(now) || !self.under.is(policy) && !self.adopt(check, now) {
            return None;
        }
        with_quota!(policy.algorithm(), quota => match quota.state_mut(&mut self.state) {
            Some(state) if !quota.shares_sensor() => Some(spend(quota, state, check.cost(), now)),
            _ => None,
        })
    }

    /// Brings a record of nothing but states up to `now` and to the numbers of the check. Returns false,
    /// and changes nothing, if there is more to that than to carry the state over.
    fn adopt(&mut self, check: &Check<'_>, now: Timestamp) -> bool {
        let policy = check.policy();
        let [found, want] = algorithms(check.slot(), self);
        let is_change = found == want && policy.limit() != 0 && !policy.algorithm().shares_sensor();
        if is_change {
            self.rewind(policy, now);
            self.bring_up(policy, now);
        }
        is_change
    }

    /// Spends on a key never seen, as [`apply`] does for one check; returns the record to store, if
    /// any.
    fn begin(check: &Check<'_>, now: Timestamp) -> Option<(Decision, Option<Self>)> {
        let policy = check.policy();
        with_quota!(policy.algorithm(), quota => {
            let mut state = quota.fresh(now);
            let decision = spend(quota, &mut state, check.cost(), now);
            let is_kept = !quota.lifetime(&state, now).is_zero();
            let record = || Self::plain(policy, quota.wrap(state));
            (!quota.shares_sensor()).then(|| (decision, is_kept.then(record)))
        })
    }
}

/// The step of one key alone: the state is brought up to `now`, and charged if the cost fits.
fn spend<A: Definition>(quota: &A, state: &mut A::State, cost: Cost, now: Timestamp) -> Decision {
    quota.rewind(state, now);
    quota.renew(state, now);
    let mut found = quota.found(state, now);
    let outcome = quota.outcome(found.as_ref().unwrap_or(state), now, cost);
    if outcome.is_allow() {
        if let Some(found) = found.take() {
            *state = found;
        }
        quota.charge(state, now, cost);
        quota.record_load(state, now);
    }
    quota.standing(found.as_ref().unwrap_or(state), now).with((outcome, cost.get()), A::KIND, now)
}

fn several(
    batch: &Batch<'_>,
    records: &mut [Option<Record>],
    sensors: &mut [Option<Record>],
    turn: Turn,
) -> Decisions {
    let mut shared = Shared::open(batch, sensors, turn.now);
    let open = |(check, record)| Entry::open(check, record, turn);
    let mut entries: Vec<_> = batch.checks().iter().zip(records).map(open).collect();
    step(&mut entries, &mut shared, turn);
    let decision =
        |entry: &mut Entry<'_>| shared.lend(entry, turn.now, |entry| entry.decision(turn));
    let decisions = entries.iter_mut().map(decision).collect();
    entries.into_iter().for_each(|entry| entry.close(turn));
    shared.close(sensors);
    decisions
}

/// The step itself: all outcomes, and then, if every check admits, all charges. Load sensors count
/// last, so that every charge finds the same load.
fn step(entries: &mut [Entry<'_>], shared: &mut Shared<'_>, turn: Turn) {
    for entry in &mut *entries {
        entry.outcome = shared.lend(entry, turn.now, |entry| entry.outcome(turn));
    }
    if !entries.iter().all(|entry| entry.outcome.is_allow()) {
        return;
    }
    for entry in &mut *entries {
        shared.lend(entry, turn.now, |entry| entry.charge(turn));
    }
    if turn.action.spends() {
        for entry in entries {
            shared.lend(entry, turn.now, |entry| entry.record(turn.now).record_load(turn.now));
        }
    }
}

/// Refuses a record of another algorithm, unless it has expired, or the policy starts anew where the
/// numbers changed; or unless one of them has no limit that anything could be kept for.
fn verify(slot: Slot<'_>, record: Option<&Record>, now: Timestamp) -> Result<(), StateError> {
    let Some(record) = record else { return Ok(()) };
    let [found, want] = algorithms(slot, record);
    if found == want
        || slot.policy.carry_over() == CarryOver::Reset
        || !(slot.policy.is_bounded() && record.under.is_bounded())
        || record.lifetime_under(slot.policy, now).is_zero()
    {
        return Ok(());
    }
    let name = |of: Option<(u8, &'static str)>| of.map_or("load sensor", |(_, name)| name);
    Err(StateError::Algorithm { found: name(found), want: name(want) })
}

/// The algorithm of a record, and that of its slot; `None` for a load sensor.
fn algorithms(slot: Slot<'_>, record: &Record) -> [Option<(u8, &'static str)>; 2] {
    let algorithm = slot.policy.algorithm();
    [record.state.algorithm(), slot.key.map(|_| (algorithm.kind(), algorithm.name()))]
}

/// An action, and its instant.
#[derive(Clone, Copy)]
struct Turn {
    action: Action,
    now: Timestamp,
}

/// One check, and the record that it is about.
struct Entry<'a> {
    check: &'a Check<'a>,
    /// Made when it is first needed, if there is none; and dropped at the end, unless the key has
    /// become known.
    record: &'a mut Option<Record>,
    is_known: bool,
    /// An expired record of another algorithm, or under an action that does not spend, but changes the
    /// state: a new record begins, as if the old one had been dropped. Otherwise what is over would
    /// count again if the clock stepped back.
    ///
    /// Or any record under a policy that admits nothing: it stays as it is until there is a limit again.
    aside: Option<Record>,
    outcome: Outcome,
    /// The cost of the check; of a take, the part of it that there is room for, or one permit, to be
    /// denied, if there is none.
    cost: Cost,
    /// Permits charged.
    charged: u64,
}

impl<'a> Entry<'a> {
    fn open(check: &'a Check<'a>, record: &'a mut Option<Record>, turn: Turn) -> Self {
        let Turn { action, now } = turn;
        if action == Action::Reset {
            *record = None;
        }
        let begins_anew =
            matches!(action, Action::Refund | Action::Extend | Action::Penalize | Action::Block(_));
        let is_off = check.policy().limit() == 0 && !matches!(action, Action::Block(_));
        let aside = record.take_if(|record| {
            if is_off {
                return true;
            }
            record.rewind(check.policy(), now);
            let is_other = || {
                let [found, want] = algorithms(check.slot(), record);
                found != want
            };
            // There is nothing to give back, and nothing that is kept beside the state may go. Under numbers
            // that come back there may be.
            let is_vain = action == Action::Refund
                && record.under.is(check.policy())
                && record.is_state_over(now);
            is_vain || (begins_anew || is_other()) && record.lifetime(now).is_zero()
        });
        if let Some(record) = record {
            record.bring_up(check.policy(), now);
        }
        let (is_known, outcome, cost) = (record.is_some(), Outcome::ALLOW, check.cost());
        Self { check, is_known, record, aside, outcome, cost, charged: 0 }
    }

    fn record(&mut self, now: Timestamp) -> &mut Record {
        self.record.get_or_insert_with(|| Record::fresh(self.check.policy(), now))
    }

    fn outcome(&mut self, turn: Turn) -> Outcome {
        let Turn { action, now } = turn;
        let (cost, receipt) = (self.check.cost(), self.check.receipt());
        if !action.is_request() && action != Action::Extend {
            return Outcome::ALLOW;
        }
        let record = self.record(now);
        if action == Action::Extend {
            return if record.holds(now, receipt) {
                Outcome::ALLOW
            } else {
                record.outcome(now, cost).denied()
            };
        }
        let cost = match record.block {
            _ if action != Action::Take => cost,
            None => cost.at_most(record.room(now)).unwrap_or(Cost::ONE),
            Some(_) => Cost::ONE,
        };
        let outcome = match record.block {
            None => record.outcome(now, cost),
            Some(block) => block.outcome(now, record.outcome(block.until, cost)),
        };
        self.cost = cost;
        outcome
    }

    fn charge(&mut self, turn: Turn) {
        let Turn { action, now } = turn;
        let (cost, receipt) = (self.cost, self.check.receipt());
        match action {
            Action::Peek | Action::Reset => {}
            Action::Spend | Action::Take => {
                self.record(now).charge(now, cost);
                self.charged = cost.get();
            }
            Action::Penalize => {
                let (cost, debt_max) = (self.check.penalty_cost(), self.check.policy().debt_max());
                self.charged = self.record(now).penalize(now, cost, debt_max);
            }
            Action::Refund if !self.is_spent(now) => {}
            Action::Refund => match receipt {
                None => self.record(now).refund(now, cost),
                Some(receipt) => self.record(now).settle(now, cost, receipt),
            },
            Action::Extend => {
                if let Some(receipt) = receipt {
                    self.record(now).extend(now, receipt);
                }
            }
            Action::Block(length) if length.is_zero() => {}
            Action::Block(length) => {
                let record = self.record(now);
                record.block = Some(Block::begin(now, length, record.block));
            }
        }
    }

    /// Returns true if there is anything to give back.
    fn is_spent(&mut self, now: Timestamp) -> bool {
        self.is_known && !self.record(now).standing(now).reset_after.is_zero()
    }

    fn decision(&mut self, turn: Turn) -> Decision {
        let Turn { now, .. } = turn;
        let outcome = (self.outcome, self.charged);
        let record = self.record(now);
        let (standing, kind) = (record.standing(now), record.under.algorithm().kind());
        let is_in_debt = 0 < record.owed;
        let decision = match record.block {
            None => standing.with(outcome, kind, now),
            Some(block) => block.standing(now, standing).with(outcome, kind, now).blocked(),
        };
        if is_in_debt { decision.in_debt() } else { decision }
    }

    /// Leaves the record to store. A key becomes known when it spends, begins to fill, or is
    /// blocked; a reset makes it unknown.
    fn close(self, turn: Turn) {
        if self.is_known {
            return;
        }
        let spends = turn.action.spends() || turn.action == Action::Penalize;
        let becomes_known = |record: &Record| {
            record.block.is_some() || spends && !record.lifetime(turn.now).is_zero()
        };
        if !self.record.as_ref().is_some_and(becomes_known) {
            *self.record = self.aside;
        }
    }
}

/// The load sensors that keys share.
#[derive(Default)]
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
            sensor: record
                .take()
                .and_then(|record| record.into_sensor(policy, now))
                .unwrap_or(Sensor::EMPTY),
        };
        Self(batch.sensors().into_iter().zip(records).map(open).collect())
    }

    /// Runs `work` on an entry that holds the sensor of its policy, if that is shared.
    fn lend<T>(
        &mut self,
        entry: &mut Entry<'_>,
        now: Timestamp,
        work: impl FnOnce(&mut Entry<'_>) -> T,
    ) -> T {
        let name = entry.check.policy().name();
        match self.0.iter_mut().find(|shared| shared.policy.name() == name) {
            None => work(entry),
            Some(SharedSensor { sensor, .. }) => {
                entry.record(now).swap_sensor(sensor);
                let result = work(entry);
                entry.record(now).swap_sensor(sensor);
                result
            }
        }
    }

    /// Resetting a key leaves the load that all keys share.
    fn close(self, records: &mut [Option<Record>]) {
        for (SharedSensor { policy, sensor, is_known }, record) in self.0.into_iter().zip(records) {
            let is_kept = is_known || sensor != Sensor::EMPTY;
            *record = is_kept.then(|| Record::of_sensor(policy, sensor));
        }
    }
}
