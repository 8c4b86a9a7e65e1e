//! The peer: a token bucket in SQLite as one writes it in an afternoon, prepared statements
//! included. It computes in doubles and says no more than yes or no.

use std::{path::Path, time::SystemTime};

use rusqlite::{Connection, OptionalExtension, params};

/// A bucket of `capacity` tokens, of which one comes back each minute.
pub(crate) struct ByHand {
    connection: Connection,
    capacity: f64,
}

impl ByHand {
    pub(crate) fn open(file: &Path, capacity: f64) -> Self {
        let connection = Connection::open(file).unwrap();
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL;
                PRAGMA synchronous = NORMAL;
                CREATE TABLE IF NOT EXISTS bucket
                    (key TEXT PRIMARY KEY, tokens REAL NOT NULL, at REAL NOT NULL) WITHOUT ROWID",
            )
            .unwrap();
        Self { connection, capacity }
    }

    /// Takes a token of `key`, if there is one.
    pub(crate) fn check(&self, key: &str) -> bool {
        let execute = |sql| self.connection.prepare_cached(sql).unwrap().execute([]).unwrap();
        execute("BEGIN IMMEDIATE");
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
        let mut select =
            self.connection.prepare_cached("SELECT tokens, at FROM bucket WHERE key = ?1").unwrap();
        let found = select.query_row([key], |row| Ok((row.get(0)?, row.get(1)?))).optional();
        let (tokens, at): (f64, f64) = found.unwrap().unwrap_or((self.capacity, now));
        let tokens = (tokens + (now - at) / A_MINUTE).min(self.capacity);
        let is_allowed = 1.0 <= tokens;
        let tokens = if is_allowed { tokens - 1.0 } else { tokens };
        self.connection
            .prepare_cached(
                "INSERT INTO bucket VALUES (?1, ?2, ?3)
                ON CONFLICT (key) DO UPDATE SET tokens = excluded.tokens, at = excluded.at",
            )
            .unwrap()
            .execute(params![key, tokens, now])
            .unwrap();
        execute("COMMIT");
        is_allowed
    }
}

const A_MINUTE: f64 = 60.0;
