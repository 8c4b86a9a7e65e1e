//! Several processes on one file, some of which die.

use std::{
    hash::{BuildHasher, RandomState},
    io::Read,
    process::Child,
    sync::Barrier,
    thread,
    time::Duration,
};

use ratelimit_servers::effort;
use ratelimit_sqlite::Sqlite;

use crate::{
    child::{ENDLESS_THREADS, child},
    store_under_test::{Folder, left, limiter},
};

/// No check of any of them fails for the others.
// FAULTS 174.
#[test]
fn eight_processes_admit_exactly_the_limit() {
    const PROCESSES: u64 = 8;
    const CHECKS: u64 = 10_000;
    const LIMIT: u64 = PROCESSES * CHECKS - 1_234;

    let folder = Folder::new();
    let role = format!("spend {CHECKS} {LIMIT}");
    let children: Vec<Child> =
        (0..PROCESSES).map(|_| child(&role, &folder.file()).spawn().unwrap()).collect();
    let admitted = children.into_iter().map(|child| {
        let output = child.wait_with_output().unwrap();
        let report = String::from_utf8(output.stderr).unwrap();
        report.parse::<u64>().unwrap_or_else(|_| panic!("{report}"))
    });
    assert_eq!(admitted.sum::<u64>(), LIMIT);
    folder.verify();
}

// FAULTS 177.
#[test]
fn a_killed_process_leaves_each_decision_whole_or_not_at_all() {
    // Of either mode.
    let moments = effort(200, 10);
    let limit = u64::from(u32::MAX);

    let folder = Folder::new();
    let mut stored_before = 0;
    for round in 0..2 * moments {
        let role = if round % 2 == 0 { "endless normal" } else { "endless full" };
        let acknowledged = acknowledged_until_killed(&folder, role);

        let limiter = limiter(&folder.open(), limit);
        let stored = limit - left(&limiter, "key");
        let newly = stored - stored_before;
        assert!(acknowledged <= newly, "{newly} stored of {acknowledged} acknowledged");
        assert!(newly <= acknowledged + ENDLESS_THREADS, "{newly} of {acknowledged} and some");
        stored_before = stored;
        drop(limiter);
        folder.verify();
    }
}

/// Kills a child some while after it has begun, and gives how many permits it has spent.
fn acknowledged_until_killed(folder: &Folder, role: &str) -> u64 {
    let mut child = child(role, &folder.file()).spawn().unwrap();
    let mut report = child.stderr.take().unwrap();
    let moment = RandomState::new().hash_one(role) % 200;
    let mut first = vec![0; 1 + usize::try_from(moment).unwrap()];
    report.read_exact(&mut first).unwrap();
    child.kill().unwrap();
    let mut rest = Vec::new();
    report.read_to_end(&mut rest).unwrap();
    child.wait().unwrap();
    let reports = first.into_iter().chain(rest);
    reports.inspect(|&byte| assert_eq!(byte, b'.')).count() as u64
}

// FAULTS 183.
#[test]
fn processes_that_open_a_new_file_at_once_make_the_tables_once() {
    for _ in 0..effort(100, 10) {
        let folder = Folder::new();
        let children: Vec<Child> =
            (0..4).map(|_| child("open", &folder.file()).spawn().unwrap()).collect();
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert_eq!(String::from_utf8(output.stderr).unwrap(), "opened");
        }
        folder.verify();
    }
}

/// A killed one leaves the file empty or whole; whoever comes next finds or makes the tables.
// FAULTS 183.
#[test]
fn a_process_killed_while_it_makes_the_tables_is_in_nobodys_way() {
    let random = RandomState::new();
    for moment in 0..effort(200, 20) {
        let folder = Folder::new();
        let mut child = child("open", &folder.file()).spawn().unwrap();
        // It has begun when there is a file, and takes some milliseconds.
        while !folder.file().exists() {
            thread::yield_now();
        }
        thread::sleep(Duration::from_micros(random.hash_one(moment) % 5_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let limiter = limiter(&folder.open(), 10);
        assert_eq!(limiter.check("key").now().unwrap().remaining, 9);
        drop(limiter);
        folder.verify();
    }
}

// FAULTS 183.
#[test]
fn stores_opened_at_once_make_the_tables_once() {
    let folder = Folder::new();
    let barrier = Barrier::new(8);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                barrier.wait();
                let limiter = limiter(&Sqlite::open(folder.file()).unwrap(), 100);
                assert!(limiter.check("key").now().unwrap().is_allowed());
            });
        }
    });
    assert_eq!(left(&limiter(&folder.open(), 100), "key"), 92);
    folder.verify();
}
