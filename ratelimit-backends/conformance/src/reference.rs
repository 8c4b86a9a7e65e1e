//! What a store has to be as good as: records in a map, in one thread.

use std::collections::HashMap;

use ratelimit_backend::BackendError;
use ratelimit_core::{
    Action, Batch, Decision, Timestamp,
    store::{Record, Slot, apply},
};

/// What stores are compared with: records in a map that never forgets.
#[derive(Clone, Debug, Default)]
pub struct Reference(HashMap<Place, Stored>);

/// The name of a policy, and a key or the policy's shared sensor.
type Place = (String, Option<Vec<u8>>);

#[derive(Clone, Debug)]
struct Stored {
    record: Record,
    /// When a store may forget it.
    expires: Timestamp,
}

impl Reference {
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
        let places: Vec<_> = batch.slots().map(place).collect();
        let record = |place| self.0.get(place).map(|stored: &Stored| stored.record.clone());
        let mut records: Vec<_> = places.iter().map(record).collect();
        let decisions = apply(batch, action, &mut records, now)?;
        if action != Action::Peek {
            for (place, record) in places.into_iter().zip(records) {
                self.put(place, record, now);
            }
        }
        Ok(decisions.to_vec())
    }

    /// How far back a clock that says `now` may be set before a store misses what it was allowed
    /// to forget.
    #[must_use]
    pub fn earliest(&self, now: Timestamp) -> Timestamp {
        let expired =
            self.0.values().map(|stored| stored.expires).filter(|&expires| expires <= now);
        expired.max().unwrap_or(Timestamp::EPOCH)
    }

    fn put(&mut self, place: Place, record: Option<Record>, now: Timestamp) {
        match record {
            None => drop(self.0.remove(&place)),
            Some(record) => {
                let expires = now + record.lifetime(now);
                self.0.insert(place, Stored { record, expires });
            }
        }
    }
}

fn place(slot: Slot<'_>) -> Place {
    (slot.policy.name().to_owned(), slot.key.map(|key| key.as_bytes().to_owned()))
}
