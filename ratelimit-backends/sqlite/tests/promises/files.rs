//! Files that may be at the path: nothing, a store, something else.

use std::{fs, num::NonZeroUsize, time::Duration};

use ratelimit_algorithms::ErrorKind;
use ratelimit_sqlite::{Sqlite, SqliteSettings, Synchronous};
use rusqlite::Connection;

use crate::store_under_test::{Folder, assert_fails, left, limiter, spend, wait};

#[test]
fn state_survives_reopening() {
    let folder = Folder::new();
    for synchronous in [Synchronous::Normal, Synchronous::Full, Synchronous::Normal] {
        let store = folder.settings().with_synchronous(synchronous).open().unwrap();
        spend(&limiter(&store, 10), "key", 2);
    }
    assert_eq!(left(&limiter(&folder.open(), 10), "key"), 4);
}

// FAULTS 187.
#[test]
fn a_store_in_memory_is_private() {
    let [one, other] = [(); 2].map(|()| limiter(&Sqlite::in_memory().unwrap(), 10));
    spend(&one, "key", 1);
    assert_eq!((left(&one, "key"), left(&one.clone(), "key"), left(&other, "key")), (9, 9, 10));
}

#[test]
fn clones_are_the_same_store() {
    let store = Folder::new().open();
    spend(&limiter(&store, 10), "key", 1);
    assert_eq!(left(&limiter(&store.clone(), 10), "key"), 9);
}

#[test]
fn garbage_is_left_alone() {
    let folder = Folder::new();
    fs::write(folder.file(), b"something that took years to write ".repeat(100)).unwrap();
    assert_untouched(&folder, ErrorKind::Corrupt);
}

// FAULTS 183.
#[test]
fn a_file_of_a_newer_version_is_left_alone() {
    changed(|stranger| stranger.pragma_update(None, "user_version", 2).unwrap());
}

#[test]
fn a_file_of_another_application_is_left_alone() {
    changed(|stranger| stranger.pragma_update(None, "application_id", 0x1234).unwrap());
}

// FAULTS 183.
#[test]
fn a_file_with_other_tables_is_left_alone() {
    changed(|stranger| stranger.execute_batch("CREATE TABLE theirs (it)").unwrap());
    changed(|stranger| stranger.execute_batch("DROP TRIGGER record_deleted").unwrap());
    changed(|stranger| {
        stranger.execute_batch("ALTER TABLE record RENAME COLUMN expires TO expired").unwrap();
    });

    let folder = Folder::new();
    folder.stranger().execute_batch("CREATE TABLE theirs (it)").unwrap();
    assert_untouched(&folder, ErrorKind::Incompatible);
}

/// Statistics are SQLite's own, and help it.
#[test]
fn an_analyzed_file_is_still_ours() {
    let folder = Folder::new();
    spend(&limiter(&folder.open(), 10), "key", 1);
    folder.stranger().execute_batch("ANALYZE").unwrap();
    assert_eq!(left(&limiter(&folder.open(), 10), "key"), 9);
}

/// Checks that a store which somebody has changed is not opened.
#[track_caller]
fn changed(change: impl FnOnce(&Connection)) {
    let folder = Folder::new();
    spend(&limiter(&folder.open(), 10), "key", 1);
    change(&folder.stranger());
    assert_untouched(&folder, ErrorKind::Incompatible);
}

#[track_caller]
fn assert_untouched(folder: &Folder, kind: ErrorKind) {
    let before = fs::read(folder.file()).unwrap();
    assert_fails(folder.settings().open(), kind);
    assert!(fs::read(folder.file()).unwrap() == before, "the file has changed");
}

#[test]
fn an_error_names_the_file_and_the_cause_in_one_line() {
    let folder = Folder::new();
    let missing = folder.path().join("missing").join("limits.db");
    let error = SqliteSettings::file(&missing).open().unwrap_err();
    let (text, before) = (error.to_string(), "store is unavailable (nothing was charged): ");
    assert!(text.starts_with(&format!("{before}{}: ", missing.display())), "{text}");
    assert!(text.contains("(os error ") && !text.contains('\n'), "{text}");

    folder.stranger().pragma_update(None, "application_id", 0x1234).unwrap();
    let cause = folder.settings().open().unwrap_err().cause().unwrap().to_string();
    assert_eq!(cause, format!("{}: file is of application 0x00001234", folder.file().display()));
}

// FAULTS 220.
#[test]
fn settings_hold_at_their_extremes() {
    let folder = Folder::new();
    for deadline in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
        for most in [NonZeroUsize::MIN, NonZeroUsize::MAX] {
            let settings = folder.settings().with_deadline(deadline);
            let store = settings.with_queue_max(most).with_keys_max(most).open().unwrap();
            let limiter = limiter(&store, 1_000);
            spend(&limiter, "key", 1);
            let _ = wait(Box::pin(limiter.clone().check("key")));
        }
    }
}

#[test]
fn a_folder_that_is_missing_is_unavailable() {
    let file = Folder::new().path().join("missing").join("limits.db");
    assert_fails(SqliteSettings::file(file).open(), ErrorKind::Unavailable);
    assert_fails(SqliteSettings::file("").open(), ErrorKind::Unavailable);
    assert_fails(SqliteSettings::file("a\0b").open(), ErrorKind::Unavailable);
}

/// The file and its log are copied in the midst of writing, and the log's end is lost.
// FAULTS 178.
#[test]
fn a_loss_of_power_loses_only_the_last_decisions() {
    let folder = Folder::new();
    let spent = limiter(&folder.open(), 1_000);
    (0..100).for_each(|_| spend(&spent, "key", 1));
    let log = fs::read(folder.log()).unwrap();

    let mut stored_before = 0;
    for kept in (0..=log.len()).step_by(log.len().div_ceil(50)).chain([log.len()]) {
        let copy = Folder::new();
        fs::copy(folder.file(), copy.file()).unwrap();
        fs::write(copy.log(), &log[..kept]).unwrap();
        let stored = 1_000 - left(&limiter(&copy.open(), 1_000), "key");
        assert!(stored_before <= stored && stored <= 100, "{stored} stored");
        stored_before = stored;
        copy.verify();
    }
    assert_eq!(stored_before, 100);
}
