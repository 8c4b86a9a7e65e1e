//! Records as rows, within one transaction.

use ratelimit_backend::{
    BackendError, Change, ErrorKind,
    transact::{Entry, decide},
};
use ratelimit_core::{
    Action, Batch, Key, Micros, Timestamp,
    store::{Decisions, Record, Slot},
};
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use crate::{
    error::Failure,
    long_log::{
        decide::{Records, Step},
        outline::Outline,
        partial_log::PartialLog,
        segments::Segments,
        write_back::split,
    },
    purge::{DELETE, Purge, as_stored},
};

/// The rows of one transaction.
pub(crate) struct Rows<'a> {
    connection: &'a Connection,
    purge: &'a mut Purge,
    now: Timestamp,
    retention: Micros,
    keys_max: u64,
}

/// The row of a slot, if there is one.
struct Row {
    slot: Vec<u8>,
    id: Option<i64>,
    /// That of a long log.
    outline: Option<Vec<u8>>,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(
        connection: &'a Connection,
        purge: &'a mut Purge,
        (now, retention): (Timestamp, Micros),
        keys_max: u64,
    ) -> Self {
        Self { connection, purge, now, retention, keys_max }
    }

    /// Applies a batch. It writes the changes, and only once nothing can be refused any more.
    pub(crate) fn apply(&mut self, batch: Batch<'_>, action: Action) -> Result<Decisions, Failure> {
        for _ in 0..=PURGES_MAX {
            if let Some(decisions) = self.apply_if_room(batch, action)? {
                return Ok(decisions);
            }
            if self.purge.is_in_vain(self.now) {
                break;
            }
            // This may drop rows of the batch itself, so they are read again.
            self.purge()?;
        }
        Err(BackendError::not_applied(ErrorKind::Capacity).into())
    }

    /// Drops the expired among the next few records.
    pub(crate) fn purge(&mut self) -> Result<(), Failure> {
        self.purge.step(self.connection, self.now)
    }

    /// Applies a batch, or returns `None` if there is no room for its new keys.
    fn apply_if_room(
        &mut self,
        batch: Batch<'_>,
        action: Action,
    ) -> Result<Option<Decisions>, Failure> {
        let (rows, entries) = self.load(batch, action)?;
        let is_long = rows.iter().any(|row| row.outline.is_some());
        if is_long && action != Action::Reset {
            let records = self.open(&rows, entries)?;
            return self.apply_to_long_logs(batch, action, &rows, records);
        }
        let (changes, decisions) = decide(batch, action, &entries, self.now)?;
        if !self.has_room_for(&rows, &changes)? {
            return Ok(None);
        }
        for (row, change) in rows.iter().zip(changes) {
            self.save(row, change)?;
        }
        Ok(Some(decisions))
    }

    fn apply_to_long_logs(
        &mut self,
        batch: Batch<'_>,
        action: Action,
        rows: &[Row],
        mut records: Records<'_>,
    ) -> Result<Option<Decisions>, Failure> {
        let (changes, decisions) = records.decide(Step { batch, action, now: self.now })?;
        if !self.has_room_for(rows, &changes)? {
            return Ok(None);
        }
        for ((row, log), change) in rows.iter().zip(records.logs).zip(changes) {
            match (change, log) {
                (Change::Put { value, ttl }, Some(log)) => {
                    let (record, outline) = log.save(value)?;
                    self.put(row, &record.encode(), outline, ttl)?;
                }
                (change, _) => self.save(row, change.map(|next| next.record))?,
            }
        }
        Ok(Some(decisions))
    }

    fn load(&self, batch: Batch<'_>, action: Action) -> Result<(Vec<Row>, Vec<Entry>), Failure> {
        let mut rows = Vec::with_capacity(batch.checks().len());
        let mut entries = Vec::with_capacity(batch.checks().len());
        let mut select = self.connection.prepare_cached(SELECT)?;
        for slot in batch.slots() {
            let bytes = slot_bytes(slot);
            let found = select.query_row([&bytes], |row| {
                Ok((
                    row.get(0)?,
                    row.get(1)?,
                    Record::decode(row.get_ref(2)?.as_blob()?, slot.policy),
                ))
            });
            let (id, outline, record) = match found.optional()? {
                Some((id, outline, record)) => (Some(id), outline, Some(record)),
                None => (None, None, None),
            };
            rows.push(Row { slot: bytes, id, outline });
            entries.push(Entry::new(action, record)?);
        }
        Ok((rows, entries))
    }

    /// Opens the long logs among the records of `rows`.
    fn open(&self, rows: &[Row], entries: Vec<Entry>) -> Result<Records<'a>, Failure> {
        let open = |(row, entry): (&Row, &Entry)| match (row.id, &row.outline, entry) {
            (Some(id), Some(outline), Entry::Record(record)) => {
                let outline = Outline::decode(outline)?;
                PartialLog::open(self.segments(id), outline, record.clone()).map(Some)
            }
            _ => Ok(None),
        };
        let logs = rows.iter().zip(&entries).map(open).collect::<Result<_, _>>()?;
        Ok(Records { entries, logs })
    }

    fn segments(&self, record: i64) -> Segments<'a> {
        Segments { connection: self.connection, record }
    }

    fn save(&mut self, row: &Row, change: Change<Record>) -> Result<(), Failure> {
        match (change, row.id) {
            (Change::Keep, _) | (Change::Remove, None) => Ok(()),
            (Change::Remove, Some(id)) => {
                self.connection.prepare_cached(DELETE)?.execute([id])?;
                Ok(())
            }
            (Change::Put { value, ttl }, id) => {
                let state = value.encode();
                if let Some(id) = id.filter(|_| STATE_BYTES_MAX < state.len()) {
                    let (record, outline) = split(self.segments(id), value)?;
                    return self.put(row, &record.encode(), outline, ttl);
                }
                self.put(row, &state, None, ttl)
            }
        }
    }

    fn put(
        &mut self,
        row: &Row,
        state: &[u8],
        outline: Option<Outline>,
        ttl: Micros,
    ) -> Result<(), Failure> {
        let expires = self.now + ttl + self.retention;
        let outline = outline.map(|outline| outline.encode());
        let expires_at = as_stored(expires);
        match row.id {
            Some(id) => {
                let values = params![id, expires_at, outline, state];
                self.connection.prepare_cached(UPDATE)?.execute(values)?;
            }
            None => {
                let values = params![row.slot, expires_at, outline, state];
                self.connection.prepare_cached(INSERT)?.execute(values)?;
            }
        }
        self.purge.note(expires, row.id.is_none());
        Ok(())
    }

    fn has_room_for<T>(&self, rows: &[Row], changes: &[Change<T>]) -> Result<bool, Failure> {
        let is_new = |(row, change): &(&Row, &Change<T>)| {
            row.id.is_none() && matches!(change, Change::Put { .. })
        };
        let new = rows.iter().zip(changes).filter(is_new).count() as u64;
        if new == 0 {
            return Ok(true);
        }
        let stored: i64 = self.connection.prepare_cached(COUNT)?.query_row([], |row| row.get(0))?;
        Ok(stored.cast_unsigned().saturating_add(new) <= self.keys_max)
    }
}

/// The bytes of a slot: `name/key`, `name*` and the digest of a long key, or `name#` for a shared load
/// sensor. A name has none of `/`, `*` and `#`, so no two slots are the same.
fn slot_bytes(slot: Slot<'_>) -> Vec<u8> {
    let name = slot.policy.name().as_bytes();
    match slot.key.map(Key::as_bytes) {
        Some(key) if key.len() <= KEY_BYTES_MAX => [name, b"/", key].concat(),
        Some(key) => [name, b"*", &Sha256::digest(key)].concat(),
        None => [name, b"#"].concat(),
    }
}

/// The longest key that is kept as it is: with the longest name, a slot is compared without leaving
/// its page.
const KEY_BYTES_MAX: usize = 128;

/// States that are longer lose entries of their log to segments: two of them still fit a page.
const STATE_BYTES_MAX: usize = 512;

const SELECT: &str = "SELECT id, outline, state FROM record WHERE slot = ?1";
const INSERT: &str = "INSERT INTO record (slot, expires, outline, state) VALUES (?1, ?2, ?3, ?4)";
const UPDATE: &str = "UPDATE record SET expires = ?2, outline = ?3, state = ?4 WHERE id = ?1";
const COUNT: &str = "SELECT records FROM total";

/// Times that one batch purges at most for the room it needs.
const PURGES_MAX: usize = 4;
