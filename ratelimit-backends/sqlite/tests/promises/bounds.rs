//! Bounds: the keys, the rows, the log, the wait for others.

use std::{fs, num::NonZeroUsize, ops::Range, thread};

use ratelimit_algorithms::{
    ErrorKind, FixedWindow, Limiter, Limits, ManualClock, Micros, Timestamp,
};
use ratelimit_servers::effort;
use ratelimit_sqlite::Sqlite;

use crate::store_under_test::{Folder, assert_fails, left, limiter, spend};

const NOON: Timestamp = Timestamp::from_micros(1_700_000_000_000_000).unwrap();

/// Permits that are back after a second.
const BRIEF: FixedWindow = FixedWindow::per_second(10);

// FAULTS 191.
#[test]
fn a_full_store_refuses_new_keys_and_keeps_the_known_ones_exact() {
    let (folder, clock) = (Folder::new(), ManualClock::new(NOON));
    let settings = folder.settings().with_keys_max(NonZeroUsize::new(100).unwrap());
    let store = settings.with_clock(clock.clone()).open().unwrap();
    let lasting = limiter(&store, 10);
    let brief = Limiter::new(store, "brief", BRIEF).unwrap();
    for key in 0..99 {
        spend(&brief, key.to_string(), 1);
    }
    spend(&lasting, "known", 1);

    assert_fails(brief.check("new").now(), ErrorKind::Capacity);
    assert_fails(
        Limits::new(&lasting, "known", 1).and(&brief, "new", 1).check().now(),
        ErrorKind::Capacity,
    );
    assert_eq!(left(&brief, "new"), 10);
    assert_eq!(left(&lasting, "known"), 9);
    spend(&lasting, "known", 1);

    clock.advance(Micros::from_secs(1));
    spend(&brief, "new", 1);
    assert_eq!(left(&lasting, "known"), 8);
    drop((lasting, brief));
    assert_eq!(folder.rows(), 2);
    folder.verify();
}

/// Making room for the new key drops the old one, which is charged all the same.
#[test]
fn an_expired_key_and_a_new_one_are_charged_together_in_a_full_store() {
    let (folder, clock) = (Folder::new(), ManualClock::new(NOON));
    let open = |keys_max| {
        let settings = folder.settings().with_keys_max(NonZeroUsize::new(keys_max).unwrap());
        let store = settings.with_clock(clock.clone()).open().unwrap();
        (Limiter::new(store.clone(), "brief", BRIEF).unwrap(), limiter(&store, 10))
    };
    let (brief, lasting) = open(2);
    spend(&brief, "old", 1);
    spend(&lasting, "live", 1);
    clock.advance(Micros::from_secs(1));
    let both = |brief: &Limiter<Sqlite>, lasting: &Limiter<Sqlite>| {
        Limits::new(brief, "old", 3).and(lasting, "new", 1).check().now()
    };
    assert_fails(both(&brief, &lasting), ErrorKind::Capacity);
    drop((brief, lasting));

    let (brief, lasting) = open(3);
    assert!(both(&brief, &lasting).unwrap().is_allowed());
    assert_eq!((left(&brief, "old"), left(&lasting, "new")), (7, 9));
}

#[test]
fn the_total_counts_the_keys_of_all_processes() {
    let folder = Folder::new();
    let settings = || folder.settings().with_keys_max(NonZeroUsize::new(2).unwrap());
    let [one, other] = [(); 2].map(|()| limiter(&settings().open().unwrap(), 10));
    spend(&one, "a", 1);
    spend(&other, "b", 1);
    assert_fails(one.check("c").now(), ErrorKind::Capacity);
    folder.stranger().execute_batch("DELETE FROM record").unwrap();
    spend(&one, "c", 1);
}

/// Two thousand rows expire at once; then there is a call each hundredth of a second.
// FAULTS 188.
#[tokio::test]
async fn expired_rows_are_dropped_a_batch_at_a_time() {
    let (folder, clock) = (Folder::new(), ManualClock::new(NOON));
    let store = folder.settings().with_clock(clock.clone()).open().unwrap();
    let brief = Limiter::new(store.clone(), "brief", BRIEF).unwrap();
    for key in 0..2_000 {
        spend(&brief, key.to_string(), 1);
    }
    let lasting = limiter(&store, 1_000);
    clock.advance(Micros::from_secs(1));

    let mut rows = folder.rows();
    for _ in 0..20 {
        clock.advance(Micros::from_millis(10));
        assert!(lasting.check("kept").await.unwrap().is_allowed());
        // What is asked next waits until the writer has tidied up.
        assert!(lasting.peek("kept").await.unwrap().is_allowed());
        let left = folder.rows();
        assert!(rows <= left + 256, "{rows} rows, then {left}");
        rows = left;
    }
    assert_eq!(rows, 1);
    folder.verify();
}

// FAULTS 188.
#[test]
fn new_keys_alone_make_expired_ones_go() {
    let (folder, clock) = (Folder::new(), ManualClock::new(NOON));
    let store = folder.settings().with_clock(clock.clone()).open().unwrap();
    let brief = Limiter::new(store, "brief", BRIEF).unwrap();
    let new_keys = |rounds: Range<u32>| {
        for round in rounds {
            for key in 0..1_000 {
                spend(&brief, format!("{round} {key}"), 1);
            }
            clock.advance(Micros::from_secs(1));
        }
        let rows = folder.rows();
        assert!(rows < 3_000, "{rows} rows of 1 000 that are live");
        folder.pages()
    };
    let pages = new_keys(0..10);
    let pages_at_last = new_keys(10..effort(1_000, 50));
    assert!(pages_at_last <= 2 * pages, "{pages} pages, then {pages_at_last}");
}

#[test]
fn a_denial_and_a_peek_write_nothing() {
    let folder = Folder::new();
    let limiter = limiter(&folder.open(), 1);
    spend(&limiter, "key", 1);
    let before = fs::read(folder.log()).unwrap();
    for _ in 0..10 {
        assert!(!limiter.check("key").now().unwrap().is_allowed());
        assert!(limiter.peek("other").now().unwrap().is_allowed());
        assert_eq!(limiter.reset("unknown").now().unwrap().remaining, 1);
        assert_eq!(limiter.refund("unknown").now().unwrap().remaining, 1);
    }
    assert!(fs::read(folder.log()).unwrap() == before);
}

/// Each commit of one is in the way of the other, which never sees the log at rest.
// FAULTS 176.
#[test]
fn two_that_write_without_a_pause_keep_the_log_short() {
    let folder = Folder::new();
    let limiters = [(); 2].map(|()| limiter(&folder.open(), 1_000_000));
    thread::scope(|scope| {
        for limiter in &limiters {
            scope.spawn(|| (0..40_000).for_each(|_| spend(limiter, "key", 1)));
        }
    });
    let log_bytes = fs::metadata(folder.log()).unwrap().len();
    assert!(log_bytes < 24 << 20, "{log_bytes} bytes");
    assert_eq!(left(&limiters[0], "key"), 920_000);
}

/// A reader in its way makes the log grow, until it is gone.
// FAULTS 176, 218.
#[test]
fn the_log_is_written_back_and_cut() {
    const MIB: u64 = 1 << 20;

    let folder = Folder::new();
    let limiter = limiter(&folder.open(), 1_000_000);
    let log_bytes = || fs::metadata(folder.log()).unwrap().len();
    // A thread writes it back, at its own pace.
    let spend_until = |is_enough: &dyn Fn(u64, u64) -> bool| {
        let mut spent = 0;
        while !is_enough(spent, log_bytes()) {
            assert!(spent < 100_000, "{} bytes", log_bytes());
            spend(&limiter, "key", 1);
            spent += 1;
        }
        spent
    };
    let is_short = |spent, bytes| 10_000 < spent && bytes < 6 * MIB;
    let mut spent = spend_until(&is_short);

    let reader = folder.stranger();
    reader.execute_batch("BEGIN; SELECT count(*) FROM record").unwrap();
    spent += spend_until(&|spent, bytes| 10_000 < spent && 6 * MIB < bytes);

    drop(reader);
    spent += spend_until(&is_short);
    assert_eq!(left(&limiter, "key"), 1_000_000 - spent);
}
