//! Records as rows, within one transaction.

use ratelimit_backend::{BackendError, ErrorKind};
use ratelimit_core::{Action, Batch, Decisions, Key, Record, Slot, StateError, Timestamp, apply};
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use crate::{
    error::Failure,
    padding::{pad, unpad},
    walk::Walk,
};

/// The rows of one transaction.
pub(crate) struct Rows<'a> {
    connection: &'a Connection,
    walk: &'a mut Walk,
    now: Timestamp,
    keys_max: u64,
}

/// A row that a batch is about: its slot, and its number and state as they were found.
struct Row {
    slot: Vec<u8>,
    found: Option<(i64, Vec<u8>)>,
}

/// What is to become of a row.
enum Change {
    Insert { slot: Vec<u8>, state: Vec<u8>, expires: Timestamp },
    Update { id: i64, state: Vec<u8>, expires: Timestamp },
    Delete { id: i64 },
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
        let found = select.query_row([&slot], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        Ok(Row { slot, found })
    }

    /// What becomes of a row, unless it stays as it is.
    fn change(&self, row: Row, record: Option<Record>) -> Option<Change> {
        let Row { slot, found } = row;
        let Some(record) = record else {
            return found.map(|(id, _)| Change::Delete { id });
        };
        let state = pad(record.encode());
        let expires = self.now + record.lifetime(self.now);
        match found {
            Some((_, found)) if found == state => None,
            Some((id, _)) => Some(Change::Update { id, state, expires }),
            None => Some(Change::Insert { slot, state, expires }),
        }
    }

    fn save(&mut self, change: &Change) -> Result<(), Failure> {
        let expires = match change {
            Change::Insert { slot, state, expires } => {
                let values = params![slot, micros(*expires), state];
                self.connection.prepare_cached(INSERT)?.execute(values)?;
                *expires
            }
            Change::Update { id, state, expires } => {
                let values = params![id, micros(*expires), state];
                self.connection.prepare_cached(UPDATE)?.execute(values)?;
                *expires
            }
            Change::Delete { id } => {
                self.connection.prepare_cached(DELETE)?.execute([id])?;
                return Ok(());
            }
        };
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

/// The slot of a row: `name/key`, `name*` and the digest of a long key, or `name#` for a shared load
/// sensor. A name has none of `/`, `*` and `#`, so no two have the same.
fn slot_bytes(slot: Slot<'_>) -> Vec<u8> {
    let name = slot.policy.name().as_bytes();
    match slot.key.map(Key::as_bytes) {
        Some(key) if key.len() <= KEY_MAX => [name, b"/", key].concat(),
        Some(key) => [name, b"*", &Sha256::digest(key)].concat(),
        None => [name, b"#"].concat(),
    }
}

/// The longest key that is kept as it is: with the longest name, a slot is compared without leaving
/// its page.
const KEY_MAX: usize = 128;

/// The record of a row. What a reset is about to forget may be anything.
fn decode(row: &Row, slot: Slot<'_>, action: Action) -> Result<Option<Record>, Failure> {
    let Some((_, state)) = &row.found else { return Ok(None) };
    let state = unpad(state).ok_or(StateError::Corrupt);
    match state.and_then(|state| Record::decode(state, slot.policy)) {
        Ok(record) => Ok(Some(record)),
        Err(_) if action == Action::Reset => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A time as it is stored.
pub(crate) const fn micros(at: Timestamp) -> i64 {
    at.as_micros().cast_signed()
}

const SELECT: &str = "SELECT id, state FROM record WHERE slot = ?1";
const INSERT: &str = "INSERT INTO record (slot, expires, state) VALUES (?1, ?2, ?3)";
const UPDATE: &str = "UPDATE record SET expires = ?2, state = ?3 WHERE id = ?1";
const DELETE: &str = "DELETE FROM record WHERE id = ?1";
const COUNT: &str = "SELECT records FROM total";

/// Steps that one batch goes at most for the room it needs.
const STEPS_MAX: usize = 4;
