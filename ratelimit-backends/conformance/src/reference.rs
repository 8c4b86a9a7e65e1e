//! The reference that stores are compared with: records in a map, in one thread.

use std::collections::HashMap;

use ratelimit_backend::BackendError;
use ratelimit_core::{
    Action, Batch, Decision, Micros, Timestamp,
    store::{Record, Slot, apply},
};

/// Records in a map that never forgets: the simplest store that is right.
#[derive(Clone, Debug, Default)]
pub struct ReferenceStore {
    records: HashMap<SlotName, Stored>,
    /// The latest expiry of a record that a store may have forgotten.
    forgotten: Timestamp,
}

/// The name of a policy, and a key or the policy's shared sensor.
type SlotName = (String, Option<Vec<u8>>);

#[derive(Clone, Debug)]
struct Stored {
    record: Record,
    /// The time from which a store may forget it.
    expires: Timestamp,
}

impl ReferenceStore {
    /// Applies `action` to `batch` as [`Backend::apply`](ratelimit_backend::Backend::apply) does.
    ///
    /// # Errors
    ///
    /// If a record is of another algorithm than its policy.
    pub fn apply(
        &mut self,
        batch: Batch<'_>,
        action: Action,
        now: Timestamp,
    ) -> Result<Vec<Decision>, BackendError> {
        let names: Vec<_> = batch.slots().map(slot_name).collect();
        let record = |name| self.records.get(name).map(|stored: &Stored| stored.record.clone());
        let mut records: Vec<_> = names.iter().map(record).collect();
        let decisions = apply(batch, action, &mut records, now)?;
        if action != Action::Peek {
            for (name, record) in names.into_iter().zip(records) {
                self.put(name, record, now);
            }
        }
        Ok(decisions.to_vec())
    }

    /// The earliest time that a clock may step back to, from `now`, before a store with this retention
    /// misses what it was allowed to forget. To be called before each action, which may renew what was
    /// forgotten by then.
    #[must_use]
    pub fn earliest(&mut self, now: Timestamp, retention: Micros) -> Timestamp {
        let expiries = self.records.values().map(|stored| stored.expires);
        let forgotten = expiries.filter(|&expires| expires + retention <= now).max();
        self.forgotten = forgotten.map_or(self.forgotten, |latest| latest.max(self.forgotten));
        self.forgotten
    }

    fn put(&mut self, name: SlotName, record: Option<Record>, now: Timestamp) {
        match record {
            None => drop(self.records.remove(&name)),
            // What has not changed is not written again, and expires when it would have.
            Some(record) if self.records.get(&name).is_some_and(|old| old.record == record) => {}
            Some(record) => {
                let expires = now + record.lifetime(now);
                self.records.insert(name, Stored { record, expires });
            }
        }
    }
}

fn slot_name(slot: Slot<'_>) -> SlotName {
    (slot.policy.name().to_owned(), slot.key.map(|key| key.as_bytes().to_owned()))
}
