//! Files that may be at the path: nothing, a store, something else, something that has gone.

use std::{
    fs,
    num::NonZeroUsize,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use ratelimit_algorithms::{ErrorKind, Limiter};
use ratelimit_sqlite::{Sqlite, SqliteSettings, Synchronous};
use rusqlite::Connection;

use crate::subject::{A_MINUTE, Folder, assert_fails, left, limiter, spend, wait};

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

/// Whatever the process would give to new files.
// FAULTS 219.
#[cfg(unix)]
#[test]
fn files_are_their_owners_alone() {
    for umask in ["000", "022", "777"] {
        let folder = Folder::new();
        assert_eq!(modes_under(umask, &folder), "600 600 600", "umask {umask}");
    }
}

/// Whoever makes the file before may share it, with a group for instance.
#[cfg(unix)]
#[test]
fn a_file_that_is_there_keeps_its_mode_and_its_companions_get_it() {
    let folder = Folder::new();
    fs::write(folder.file(), b"").unwrap();
    set_mode(&folder.file(), 0o660);
    assert_eq!(modes_under("022", &folder), "660 660 660");
}

/// The modes of the three files that another process makes.
#[cfg(unix)]
fn modes_under(umask: &str, folder: &Folder) -> String {
    let output = crate::child::in_shell(&format!("umask {umask}"), "modes", &folder.file());
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// The role of the other process: opens, spends, and reports.
#[cfg(unix)]
pub(crate) fn modes(settings: SqliteSettings, file: &Path) {
    use std::os::unix::fs::PermissionsExt;

    let limiter = limiter(&settings.open().unwrap(), 10);
    spend(&limiter, "key", 1);
    let mode = |companion| {
        let file = format!("{}{companion}", file.display());
        format!("{:o}", fs::metadata(file).unwrap().permissions().mode() & 0o777)
    };
    eprint!("{}", ["", "-wal", "-shm"].map(mode).join(" "));
}

#[test]
fn an_error_names_the_file_and_the_cause_in_one_line() {
    let folder = Folder::new();
    let missing = folder.path().join("missing").join("limits.db");
    let error = SqliteSettings::file(&missing).open().unwrap_err();
    let (text, before) = (error.to_string(), "store is unavailable (nothing was charged): ");
    assert!(text.starts_with(&format!("{before}{}: ", missing.display())), "{text}");
    assert!(text.contains("No such file") && !text.contains('\n'), "{text}");

    folder.stranger().pragma_update(None, "application_id", 0x1234).unwrap();
    let cause = folder.settings().open().unwrap_err().cause().unwrap().to_string();
    assert_eq!(cause, format!("{}: file is of application 0x00001234", folder.file().display()));
}

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

// FAULTS 181.
#[cfg(unix)]
#[test]
fn what_takes_no_writes_is_read_only() {
    let folder = Folder::new();
    spend(&limiter(&folder.open(), 10), "key", 1);

    set_mode(&folder.file(), 0o444);
    set_mode(folder.path(), 0o777);
    assert_eq!(opened_without_rights(&folder.file()), "ReadOnly");

    set_mode(&folder.file(), 0o666);
    set_mode(folder.path(), 0o555);
    assert_eq!(opened_without_rights(&folder.file()), "ReadOnly");
    assert_eq!(opened_without_rights(&folder.path().join("other.db")), "ReadOnly");

    set_mode(folder.path(), 0o777);
    assert_eq!(opened_without_rights(&folder.file()), "opened");
    assert_eq!(opened_without_rights(&folder.path().join("other.db")), "opened");
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;

    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The result of opening `file` as a user without special rights. Such rights ignore modes.
#[cfg(unix)]
fn opened_without_rights(file: &Path) -> String {
    use std::os::unix::{fs::MetadataExt, process::CommandExt};

    const NOBODY: u32 = 65_534;
    let mut child = crate::child::child("open", file);
    let is_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if is_root {
        child.uid(NOBODY).gid(NOBODY).current_dir("/");
    }
    String::from_utf8(child.output().unwrap().stderr).unwrap()
}

// FAULTS 184.
#[cfg(unix)]
#[test]
fn a_file_that_is_deleted_and_made_by_another_is_opened_anew() {
    let folder = Folder::new();
    let old = limiter(&folder.open(), 10);
    spend(&old, "key", 1);

    delete(&folder);
    let new = limiter(&folder.open(), 10);
    spend(&new, "key", 1);

    wait_until_seen(&old, &new);
    assert_eq!((left(&old, "key"), left(&new, "key")), (9, 9));
    drop((old, new));
    folder.verify();
}

// FAULTS 184.
#[cfg(unix)]
#[test]
fn a_file_that_another_is_moved_over_is_opened_anew() {
    let (folder, other) = (Folder::new(), Folder::new());
    let old = limiter(&folder.open(), 10);
    spend(&old, "key", 1);
    spend(&limiter(&other.open(), 10), "key", 5);

    delete(&folder);
    fs::rename(other.file(), folder.file()).unwrap();
    let new = limiter(&folder.open(), 10);
    wait_until_seen(&old, &new);
    assert_eq!((left(&old, "key"), left(&new, "key")), (5, 5));
    drop((old, new));
    folder.verify();
}

// FAULTS 184.
#[cfg(unix)]
#[test]
fn a_file_that_is_deleted_under_its_only_user_is_made_anew() {
    let folder = Folder::new();
    let limiter = limiter(&folder.open(), 1_000);
    spend(&limiter, "key", 500);
    delete(&folder);

    let start = Instant::now();
    while !folder.file().exists() {
        assert!(start.elapsed() < A_MINUTE, "it never looks");
        spend(&limiter, "key", 1);
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(left(&limiter, "key"), 999);
    drop(limiter);
    folder.verify();
}

/// Its users let go of it, also those that nobody asks anything, and write it back.
// FAULTS 184.
#[cfg(unix)]
#[test]
fn a_log_that_is_deleted_locks_nobody_out_for_long() {
    let folder = Folder::new();
    let [one, other] = [(); 2].map(|()| limiter(&folder.open(), 10));
    spend(&one, "key", 1);
    spend(&other, "key", 1);
    fs::remove_file(folder.log()).unwrap();

    let start = Instant::now();
    let new = loop {
        assert!(start.elapsed() < A_MINUTE, "it stays locked out");
        thread::sleep(Duration::from_millis(100));
        if let Ok(store) = folder.settings().open()
            && limiter(&store, 10).check("key").now().is_ok()
        {
            break limiter(&store, 10);
        }
    };
    while one.peek("key").now().is_err() || other.peek("key").now().is_err() {
        assert!(start.elapsed() < A_MINUTE, "it stays locked out");
        thread::sleep(Duration::from_millis(100));
    }
    spend(&one, "key", 1);
    spend(&other, "key", 1);
    assert_eq!([&one, &other, &new].map(|limiter| left(limiter, "key")), [5; 3]);
    drop((one, other, new));
    folder.verify();
}

#[cfg(unix)]
fn delete(folder: &Folder) {
    for companion in ["", "-wal", "-shm"] {
        fs::remove_file(format!("{}{companion}", folder.file().display())).unwrap();
    }
}

/// Waits until what `old` spends is spent for `new`.
#[cfg(unix)]
fn wait_until_seen(old: &Limiter<Sqlite>, new: &Limiter<Sqlite>) {
    let start = Instant::now();
    while old.check("seen").now().unwrap().is_allowed() && left(new, "seen") == 10 {
        assert!(start.elapsed() < A_MINUTE, "it never looks");
        thread::sleep(Duration::from_millis(200));
    }
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
