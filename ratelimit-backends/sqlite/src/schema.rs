//! The contents of the file: its tables, and the marks of their owner.
//!
//! The file says whose it is (`application_id`) and in which version (`user_version`). A file that
//! is empty becomes ours in one transaction; any other that is not exactly ours is left alone,
//! byte for byte.

use ratelimit_backend::{BackendError, ErrorKind};
use rusqlite::{Connection, MAIN_DB, Transaction, TransactionBehavior, config::DbConfig};

use crate::{
    Synchronous,
    error::{Failure, Foreign},
    wal::WAL_PAGES_MAX,
};

/// `rtlm`, in the file's header.
const APPLICATION_ID: i32 = i32::from_be_bytes(*b"rtlm");

/// The version of the tables that this library makes, and the only one it uses.
const VERSION: i32 = 1;

/// Slots are looked up in an index of their own: a table without row numbers compares whole rows, and
/// would read all of a long log whenever a neighbour of it is asked for. The state comes last, so that
/// nobody reads it on the way to something else.
///
/// Triggers keep the total right whoever writes, and in whichever process.
const OBJECTS: [&str; 6] = [
    "CREATE TABLE record (
    id INTEGER PRIMARY KEY,
    slot BLOB NOT NULL UNIQUE,
    expires INTEGER NOT NULL,
    outline BLOB,
    state BLOB NOT NULL
) STRICT",
    "CREATE TABLE segment (
    record INTEGER NOT NULL,
    level INTEGER NOT NULL,
    number INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (record, level, number)
) STRICT, WITHOUT ROWID",
    "CREATE TABLE total (records INTEGER NOT NULL) STRICT",
    "CREATE TRIGGER record_inserted AFTER INSERT ON record
BEGIN UPDATE total SET records = records + 1; END",
    "CREATE TRIGGER record_deleted AFTER DELETE ON record
BEGIN UPDATE total SET records = records - 1; END",
    "CREATE TRIGGER log_deleted AFTER DELETE ON record WHEN old.outline IS NOT NULL
BEGIN DELETE FROM segment WHERE record = old.id; END",
];

/// Makes a connection ready for use, and the file if it is empty. It may be called again if it
/// was busy.
pub(crate) fn prepare(
    connection: &Connection,
    is_file: bool,
    synchronous: Synchronous,
) -> Result<(), Failure> {
    if connection.is_readonly(MAIN_DB)? {
        return Err(BackendError::not_applied(ErrorKind::ReadOnly).into());
    }
    // Closing somebody else's file must not write its WAL back.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let is_empty = {
        let _snapshot = Transaction::new_unchecked(connection, TransactionBehavior::Deferred)?;
        is_empty(connection)?
    };
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;

    if is_empty {
        connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    }
    if is_file {
        let mode: String =
            connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
        if mode != "wal" {
            return Err(Foreign::JournalMode { found: mode }.into());
        }
    }
    let synchronous = match synchronous {
        Synchronous::Normal => "normal",
        Synchronous::Full => "full",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES_MAX)?;
    if is_empty {
        create(connection)?;
    }
    Ok(())
}

/// Makes the tables, unless another process has done so meanwhile.
fn create(connection: &Connection) -> Result<(), Failure> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    if is_empty(connection)? {
        for object in OBJECTS {
            transaction.execute_batch(object)?;
        }
        transaction.execute("INSERT INTO total (records) VALUES (0)", [])?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit().map_err(Failure::Commit)
}

/// Returns true if the file is to be made ours. Refuses one that is neither empty nor ours.
fn is_empty(connection: &Connection) -> Result<bool, Failure> {
    let application_id: i32 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let objects: Vec<String> = connection
        .prepare(SELECT_OBJECTS)?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    match (application_id, version) {
        (0, 0) if objects.is_empty() => Ok(true),
        (APPLICATION_ID, VERSION) if objects == OBJECTS => Ok(false),
        (APPLICATION_ID, VERSION) | (0, 0) => Err(Foreign::Tables.into()),
        (APPLICATION_ID, found) => Err(Foreign::Version { found, uses: VERSION }.into()),
        (found, _) => Err(Foreign::Application { found }.into()),
    }
}

/// SQLite's own tables, such as the statistics that `ANALYZE` makes, are nobody's.
const SELECT_OBJECTS: &str =
    r"SELECT sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY rowid";

/// A charge writes one page into the WAL. This one holds a dozen rows, and is a quarter of what
/// SQLite would take.
const PAGE_BYTES: i32 = 1_024;

/// The size to which the WAL is cut when it starts anew: as much as it is let grow.
const WAL_BYTES_MAX: i32 = PAGE_BYTES * WAL_PAGES_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    // FAULTS 178.
    #[test]
    fn each_mode_waits_for_the_disk_as_it_says() {
        for (mode, found) in [(Synchronous::Normal, 1), (Synchronous::Full, 2)] {
            let connection = Connection::open_in_memory().unwrap();
            prepare(&connection, false, mode).unwrap();
            let pragma = connection.pragma_query_value(None, "synchronous", |row| row.get(0));
            assert_eq!(pragma, Ok(found), "{mode:?}");
        }
    }

    // FAULTS 187.
    #[test]
    fn a_file_that_keeps_no_write_ahead_log_is_refused() {
        let connection = Connection::open_in_memory().unwrap();
        let refused = prepare(&connection, true, Synchronous::Normal).unwrap_err();
        assert_eq!(refused.into_error(None).kind(), ErrorKind::Incompatible);
    }
}
