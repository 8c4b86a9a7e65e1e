//! Records as rows, within one transaction.

use ratelimit_backend::{BackendError, ErrorKind};
use ratelimit_core::{
    Action, Batch, Key, Timestamp,
    store::{Decisions, Slot},
};
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use crate::{
    error::Failure,
    long_log::decide::{Fate, Known, Question},
    long_log::segments::{Past, Segments},
    purge::Walk,
};

/// The rows of one transaction.
pub(crate) struct Rows<'a> {
    connection: &'a Connection,
    walk: &'a mut Walk,
    now: Timestamp,
    keys_max: u64,
}

/// A row that a batch is about: its slot, what was found there, and what is known of its record.
pub(crate) struct Row<'a> {
    slot: Vec<u8>,
    found: Option<Found>,
    pub(crate) known: Known<'a>,
}

struct Found {
    id: i64,
    past: Past,
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
            let question = Question { batch, action, now: self.now };
            let mut rows = self.load_all(&question)?;
            let (fates, decisions) = question.ask(&mut rows)?;
            if self.has_room_for(&rows, &fates)? {
                for (row, fate) in rows.iter().zip(&fates) {
                    self.save(row, fate)?;
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
        self.walk.step(self.connection, self.now)
    }

    fn load_all(&self, question: &Question<'_>) -> Result<Vec<Row<'a>>, Failure> {
        let mut rows = Vec::with_capacity(question.batch.checks().len());
        for slot in question.batch.slots() {
            rows.push(self.load(slot, question)?);
        }
        Ok(rows)
    }

    fn load(&self, slot: Slot<'_>, question: &Question<'_>) -> Result<Row<'a>, Failure> {
        let bytes = slot_bytes(slot);
        let mut select = self.connection.prepare_cached(SELECT)?;
        let found = select.query_row([&bytes], |row| {
            Ok((row.get(0)?, row.get::<_, Option<Vec<u8>>>(1)?, row.get::<_, Vec<u8>>(2)?))
        });
        let Some((id, past, state)) = found.optional()? else {
            return Ok(Row { slot: bytes, found: None, known: Known::Nothing });
        };
        let (past, known) = question.read(slot, self.segments(id), past.as_deref(), &state)?;
        Ok(Row { slot: bytes, found: Some(Found { id, past }), known })
    }

    fn segments(&self, record: i64) -> Segments<'a> {
        Segments { connection: self.connection, record }
    }

    fn save(&mut self, row: &Row<'_>, fate: &Fate) -> Result<(), Failure> {
        match (fate, &row.found) {
            (Fate::Unchanged, _) | (Fate::Forgotten, None) => {}
            (Fate::Forgotten, Some(Found { id, .. })) => {
                self.connection.prepare_cached(DELETE)?.execute([id])?;
            }
            (Fate::Stored { layout, expires }, found) => {
                let (past, state) = (layout.past.encode(), layout.record.encode());
                let (record, before) = if let Some(Found { id, past: before }) = found {
                    let values = params![id, micros(*expires), past, state];
                    self.connection.prepare_cached(UPDATE)?.execute(values)?;
                    (*id, *before)
                } else {
                    let values = params![row.slot, micros(*expires), past, state];
                    self.connection.prepare_cached(INSERT)?.execute(values)?;
                    (self.connection.last_insert_rowid(), Past::default())
                };
                layout.save(self.segments(record), before)?;
                self.walk.note(*expires, found.is_none());
            }
        }
        Ok(())
    }

    fn has_room_for(&self, rows: &[Row<'_>], fates: &[Fate]) -> Result<bool, Failure> {
        let is_new = |(row, fate): &(&Row<'_>, &Fate)| {
            row.found.is_none() && matches!(fate, Fate::Stored { .. })
        };
        let new = rows.iter().zip(fates).filter(is_new).count() as u64;
        if new == 0 {
            return Ok(true);
        }
        let stored: i64 = self.connection.prepare_cached(COUNT)?.query_row([], |row| row.get(0))?;
        Ok(stored.cast_unsigned().saturating_add(new) <= self.keys_max)
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

/// A time as it is stored.
pub(crate) const fn micros(at: Timestamp) -> i64 {
    at.as_micros().cast_signed()
}

const SELECT: &str = "SELECT id, past, state FROM record WHERE slot = ?1";
const INSERT: &str = "INSERT INTO record (slot, expires, past, state) VALUES (?1, ?2, ?3, ?4)";
const UPDATE: &str = "UPDATE record SET expires = ?2, past = ?3, state = ?4 WHERE id = ?1";
pub(crate) const DELETE: &str = "DELETE FROM record WHERE id = ?1";
const COUNT: &str = "SELECT records FROM total";

/// Steps that one batch goes at most for the room it needs.
const STEPS_MAX: usize = 4;
