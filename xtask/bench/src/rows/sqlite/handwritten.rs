//! The peer: a short token bucket in SQLite, with prepared statements. It computes in doubles, and
//! returns only yes or no.

use std::{path::Path, time::SystemTime};

use anyhow::Result;
use rusqlite::{Connection, OptionalExtension, params};

use crate::setup::Outcome;

/// A bucket of so many tokens, of which so many come back each second.
pub(super) struct Handwritten {
    connection: Connection,
    capacity: f64,
    rate: f64,
}

impl Handwritten {
    pub(super) fn open(file: &Path, outcome: Outcome) -> Result<Self> {
        let connection = Connection::open(file)?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL;
            PRAGMA synchronous = NORMAL;
            CREATE TABLE IF NOT EXISTS bucket
                (key TEXT PRIMARY KEY, tokens REAL NOT NULL, at REAL NOT NULL) WITHOUT ROWID",
        )?;
        let (capacity, rate) = match outcome {
            Outcome::Allowed => (1e8, 1.0),
            Outcome::Denied => (1.0, 1.0 / 3_600.0),
        };
        Ok(Self { connection, capacity, rate })
    }

    /// Takes a token of `key`, if there is one.
    pub(super) fn check(&self, key: &str) -> Result<bool> {
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64();
        let found = self
            .connection
            .prepare_cached("SELECT tokens, at FROM bucket WHERE key = ?1")?
            .query_row([key], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let (tokens, at): (f64, f64) = found.unwrap_or((self.capacity, now));
        let tokens = (tokens + (now - at) * self.rate).min(self.capacity);
        let is_allowed = 1.0 <= tokens;
        let tokens = if is_allowed { tokens - 1.0 } else { tokens };
        self.connection
            .prepare_cached(
                "INSERT INTO bucket VALUES (?1, ?2, ?3)
                ON CONFLICT (key) DO UPDATE SET tokens = excluded.tokens, at = excluded.at",
            )?
            .execute(params![key, tokens, now])?;
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(is_allowed)
    }
}
