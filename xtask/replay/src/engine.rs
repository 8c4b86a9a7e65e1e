//! The engines: the pure core over a map, and the real stores, each with a clock to set.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::bail;
use ratelimit_algorithms::{Backend, Clock, ManualClock};
use ratelimit_backend::{BackendError, Names, Reply};
use ratelimit_core::{Action, Batch, Decisions, Record, Slot, apply};
use ratelimit_memory::Memory;

/// Which engine.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Core,
    Memory,
}

impl FromStr for Kind {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        match name {
            "core" => Ok(Self::Core),
            "memory" => Ok(Self::Memory),
            _ => bail!("there is no backend {name:?}, only core and memory"),
        }
    }
}

impl Kind {
    /// A store that knows nobody yet, and goes by `clock`.
    pub(crate) fn start(self, clock: ManualClock) -> Arc<dyn Backend> {
        match self {
            Self::Core => {
                Arc::new(Core { clock, records: Mutex::default(), names: Names::default() })
            }
            Self::Memory => Arc::new(Memory::with_clock(clock, NonZeroUsize::MAX)),
        }
    }
}

/// The pure core over a map.
struct Core {
    clock: ManualClock,
    records: Mutex<HashMap<Place, Record>>,
    names: Names,
}

/// The name of a policy, and a key or its shared sensor.
type Place = (String, Option<Vec<u8>>);

impl Core {
    fn decide(&self, batch: Batch<'_>, action: Action) -> Result<Decisions, BackendError> {
        let now = self.clock.now()?;
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let place = |slot: Slot<'_>| {
            (slot.policy.name().to_owned(), slot.key.map(|key| key.as_bytes().to_vec()))
        };
        let places: Vec<_> = batch.slots().map(place).collect();
        let mut batch_records: Vec<_> =
            places.iter().map(|place| records.get(place).cloned()).collect();
        let decisions = apply(batch, action, &mut batch_records, now)?;
        if action != Action::Peek {
            for (place, record) in places.into_iter().zip(batch_records) {
                match record {
                    Some(record) => records.insert(place, record),
                    None => records.remove(&place),
                };
            }
        }
        Ok(decisions)
    }
}

impl Backend for Core {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        Reply::ready(self.decide(batch, action))
    }

    fn names(&self) -> &Names {
        &self.names
    }
}
