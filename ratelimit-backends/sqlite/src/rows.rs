//! Records as rows, within one transaction.

use ratelimit_backend::{BackendError, ErrorKind};
use ratelimit_core::{Action, Batch, Decisions, Record, Slot, Timestamp, apply};
use rusqlite::{Connection, OptionalExtension, params};

use crate::{error::Failure, walk::Walk};

/// The rows of one transaction.
pub(crate) struct Rows<'a> {
    connection: &'a Connection,
    walk: &'a mut Walk,
    now: Timestamp,
    keys_max: u64,
}

/// A row that a batch is about: its key, and its state as it was found.
struct Row {
    slot: Vec<u8>,
    found: Option<Vec<u8>>,
}

/// What is to become of a row.
enum Change {
    Insert { slot: Vec<u8>, state: Vec<u8>, expires: Timestamp },
    Update { slot: Vec<u8>, state: Vec<u8>, expires: Timestamp },
    Delete { slot: Vec<u8> },
}

impl<'a> Rows<'a> {
    pub(crate) fn new(
        connection: &'a Connection,
        walk: &'a mut Walk,
        now: Timestamp,
        keys_max: u64,
    ) -> Self {
        Self { connection, walk, now, keys_max }
    }

    /// Applies a batch. It writes what has changed, and only when nothing can be refused any more.
    pub(crate) fn apply(&mut self, batch: Batch<'_>, action: Action) -> Result<Decisions, Failure> {
        for _ in 0..=STEPS_MAX {
            let (changes, decisions) = self.decide(batch, action)?;
            if self.has_room_for(&changes)? {
                for change in &changes {
                    self.save(change)?;
                }
                return Ok(decisions);
            }
            if self.walk.is_barren(self.now) {
                break;
            }
            // This may drop rows of the batch itself, so they are read again.
            self.purge()?;
        }
        Err(BackendError::not_applied(ErrorKind::Capacity).into())
    }

    /// Drops the expired among the next few records.
    pub(crate) fn purge(&mut self) -> Result<(), Failure> {
        Ok(self.walk.step(self.connection, self.now)?)
    }

    /// What is to be written, and the decisions.
    fn decide(
        &self,
        batch: Batch<'_>,
        action: Action,
    ) -> Result<(Vec<Change>, Decisions), Failure> {
        let (mut rows, mut records) = (Vec::new(), Vec::new());
        for slot in batch.slots() {
            let row = self.load(slot)?;
            records.push(decode(&row, slot, action)?);
            rows.push(row);
        }
        let decisions = apply(batch, action, &mut records, self.now)?;
        if action == Action::Peek {
            return Ok((Vec::new(), decisions));
        }
        let changes = rows.into_iter().zip(records);
        Ok((changes.filter_map(|(row, record)| self.change(row, record)).collect(), decisions))
    }

    fn load(&self, slot: Slot<'_>) -> Result<Row, Failure> {
        let slot = slot_bytes(slot);
        let mut select = self.connection.prepare_cached(SELECT)?;
        let found = select.query_row([&slot], |row| row.get(0)).optional()?;
        Ok(Row { slot, found })
    }

    /// What becomes of a row, unless it stays as it is.
    fn change(&self, row: Row, record: Option<Record>) -> Option<Change> {
        let Row { slot, found } = row;
        let Some(record) = record else {
            return found.is_some().then_some(Change::Delete { slot });
        };
        let state = record.encode();
        let expires = self.now + record.lifetime(self.now);
        match found {
            Some(found) if found == state => None,
            Some(_) => Some(Change::Update { slot, state, expires }),
            None => Some(Change::Insert { slot, state, expires }),
        }
    }

    fn save(&mut self, change: &Change) -> Result<(), Failure> {
        let (sql, slot, state, expires) = match change {
            Change::Insert { slot, state, expires } => (INSERT, slot, state, *expires),
            Change::Update { slot, state, expires } => (UPDATE, slot, state, *expires),
            Change::Delete { slot } => {
                self.connection.prepare_cached(DELETE)?.execute([slot])?;
                return Ok(());
            }
        };
        let values = params![slot, state, expires.as_micros().cast_signed()];
        self.connection.prepare_cached(sql)?.execute(values)?;
        self.walk.note(expires, change.is_new());
        Ok(())
    }

    fn has_room_for(&self, changes: &[Change]) -> Result<bool, Failure> {
        let new = changes.iter().filter(|change| change.is_new()).count() as u64;
        if new == 0 {
            return Ok(true);
        }
        let stored: i64 = self.connection.prepare_cached(COUNT)?.query_row([], |row| row.get(0))?;
        Ok(stored.cast_unsigned().saturating_add(new) <= self.keys_max)
    }
}

impl Change {
    const fn is_new(&self) -> bool {
        matches!(self, Self::Insert { .. })
    }
}

/// The key of a row: `name/key`, or `name#` for a shared load sensor. A name has neither `/` nor
/// `#`, so no two slots have the same.
fn slot_bytes(slot: Slot<'_>) -> Vec<u8> {
    let name = slot.policy.name().as_bytes();
    match slot.key {
        Some(key) => [name, b"/", key.as_bytes()].concat(),
        None => [name, b"#"].concat(),
    }
}

/// The record of a row. What a reset is about to forget may be anything.
fn decode(row: &Row, slot: Slot<'_>, action: Action) -> Result<Option<Record>, Failure> {
    let Some(state) = &row.found else { return Ok(None) };
    match Record::decode(state, slot.policy) {
        Ok(record) => Ok(Some(record)),
        Err(_) if action == Action::Reset => Ok(None),
        Err(error) => Err(error.into()),
    }
}

const SELECT: &str = "SELECT state FROM record WHERE slot = ?1";
const INSERT: &str = "INSERT INTO record (slot, state, expires) VALUES (?1, ?2, ?3)";
const UPDATE: &str = "UPDATE record SET state = ?2, expires = ?3 WHERE slot = ?1";
const DELETE: &str = "DELETE FROM record WHERE slot = ?1";
const COUNT: &str = "SELECT records FROM total";

/// Steps that one batch goes at most for the room it needs.
const STEPS_MAX: usize = 4;
