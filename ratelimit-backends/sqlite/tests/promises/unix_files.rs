//! Files with modes and owners, and files that are deleted or moved while they are open.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::Path,
    thread,
    time::{Duration, Instant},
};

use ratelimit_algorithms::Limiter;
use ratelimit_sqlite::{Sqlite, SqliteSettings};

use crate::store_under_test::{A_MINUTE, Folder, left, limiter, spend};

/// Whatever the process would give to new files.
// FAULTS 219.
#[test]
fn files_are_their_owners_alone() {
    for umask in ["000", "022", "777"] {
        let folder = Folder::new();
        assert_eq!(modes_under(umask, &folder), "600 600 600", "umask {umask}");
    }
}

/// Whoever makes the file before may share it, with a group for instance.
#[test]
fn a_file_that_is_there_keeps_its_mode_and_its_companions_get_it() {
    let folder = Folder::new();
    fs::write(folder.file(), b"").unwrap();
    set_mode(&folder.file(), 0o660);
    assert_eq!(modes_under("022", &folder), "660 660 660");
}

/// The modes of the three files that another process makes.
fn modes_under(umask: &str, folder: &Folder) -> String {
    let output = crate::child::in_shell(&format!("umask {umask}"), "modes", &folder.file());
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// The role of the other process: opens, spends, and reports.
pub(crate) fn modes(settings: SqliteSettings, file: &Path) {
    let limiter = limiter(&settings.open().unwrap(), 10);
    spend(&limiter, "key", 1);
    let mode = |companion| {
        let file = format!("{}{companion}", file.display());
        format!("{:o}", fs::metadata(file).unwrap().permissions().mode() & 0o777)
    };
    eprint!("{}", ["", "-wal", "-shm"].map(mode).join(" "));
}

// FAULTS 181.
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

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The result of opening `file` as a user without special rights. Such rights ignore modes.
fn opened_without_rights(file: &Path) -> String {
    const NOBODY: u32 = 65_534;
    let mut child = crate::child::child("open", file);
    let is_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if is_root {
        child.uid(NOBODY).gid(NOBODY).current_dir("/");
    }
    String::from_utf8(child.output().unwrap().stderr).unwrap()
}

// FAULTS 184.
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
// FAULTS 184, 218.
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

fn delete(folder: &Folder) {
    for companion in ["", "-wal", "-shm"] {
        fs::remove_file(format!("{}{companion}", folder.file().display())).unwrap();
    }
}

/// Waits until what `old` spends is spent for `new`.
fn wait_until_seen(old: &Limiter<Sqlite>, new: &Limiter<Sqlite>) {
    let start = Instant::now();
    while old.check("seen").now().unwrap().is_allowed() && left(new, "seen") == 10 {
        assert!(start.elapsed() < A_MINUTE, "it never looks");
        thread::sleep(Duration::from_millis(200));
    }
}
