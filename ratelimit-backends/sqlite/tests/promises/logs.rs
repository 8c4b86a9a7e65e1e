//! Long logs: what lies in segments, and what of it is read.

use std::time::Duration;

use ratelimit_algorithms::{ErrorKind, Limiter, ManualClock, Micros, SlidingWindowLog, Timestamp};
use ratelimit_sqlite::Sqlite;

use crate::store_under_test::{Folder, assert_fails, left, spend};

/// A log that is full, with an entry for each second.
struct Full {
    folder: Folder,
    clock: ManualClock,
    limiter: Limiter<Sqlite>,
}

const LIMIT: u32 = 1_000;

const OLDEST: &str = "level = 0 AND number = (SELECT min(number) FROM segment WHERE level = 0)";

const A_SECOND: Micros = Micros::from_secs(1);

impl Full {
    fn new() -> Self {
        Self::of(LIMIT)
    }

    fn of(limit: u32) -> Self {
        let (folder, clock) = (Folder::new(), ManualClock::new(Timestamp::EPOCH));
        let store = folder.settings().with_clock(clock.clone()).open().unwrap();
        let window = Duration::from_secs(limit.into());
        let log = SlidingWindowLog::per(limit.into(), window);
        let limiter = Limiter::new(store, "log", log).unwrap();
        let full = Self { folder, clock, limiter };
        // More than there is room for, so that the first ones leave.
        (0..limit + 100).for_each(|_| full.spend());
        full
    }

    /// Spends a permit, and lets time pass until there is one again.
    fn spend(&self) {
        self.spend_on("key");
    }

    fn spend_on(&self, key: &str) {
        spend(&self.limiter, key, 1);
        self.clock.advance(A_SECOND);
    }

    /// Has another key tidy up behind this one; `watch` sees how many segments are left.
    fn forget(&self, mut watch: impl FnMut(u32)) {
        loop {
            let segments = self.folder.segments();
            watch(segments);
            if segments == 0 {
                return;
            }
            spend(&self.limiter, "other", 1);
            self.clock.advance(A_SECOND);
        }
    }

    fn damage(&self, damage: &str) {
        self.folder.stranger().execute(damage, []).unwrap();
    }

    fn longest_state(&self) -> u32 {
        let longest = "SELECT max(length(state)) FROM record";
        self.folder.stranger().query_row(longest, [], |row| row.get(0)).unwrap()
    }
}

#[test]
fn a_row_keeps_the_newest_entries_of_its_log() {
    let full = Full::new();
    assert!(full.longest_state() < 1_024);
    assert!((LIMIT / 32 - 4..LIMIT / 32 + 1).contains(&full.folder.segments()));
    full.folder.verify();
}

#[test]
fn a_segment_that_is_missing_is_corrupt_until_a_reset() {
    let full = Full::new();
    full.damage(&format!("DELETE FROM segment WHERE {OLDEST}"));
    assert_fails(full.limiter.check("key").now(), ErrorKind::Corrupt);
    assert_fails(full.limiter.peek("key").now(), ErrorKind::Corrupt);
    assert_eq!(full.limiter.reset("key").now().unwrap().remaining, u64::from(LIMIT));
    full.spend();
    assert_eq!((full.folder.segments(), full.folder.rows()), (0, 1));
    full.folder.verify();
}

#[test]
fn what_is_no_segment_is_corrupt() {
    for damage in [
        "UPDATE segment SET body = x''",
        "UPDATE segment SET body = x'01ff'",
        "UPDATE segment SET body = x'010101'",
        "UPDATE segment SET body = CAST(body || x'00' AS BLOB)",
        "UPDATE segment SET body = x'010101' WHERE level = 0",
        "UPDATE record SET outline = x''",
        "UPDATE record SET outline = zeroblob(25)",
        "UPDATE record SET outline = CAST(x'ffffffffffffffffffff' || outline AS BLOB)",
        "UPDATE record SET outline = CAST(substr(outline, 2) AS BLOB)",
        "UPDATE record SET outline = CAST(substr(outline, 1, 12) AS BLOB)",
        "UPDATE record SET outline = CAST(outline || x'00' AS BLOB)",
    ] {
        let full = Full::new();
        full.damage(damage);
        assert_fails(full.limiter.check("key").now(), ErrorKind::Corrupt);
        assert_eq!(full.limiter.reset("key").now().unwrap().remaining, u64::from(LIMIT));
        full.folder.verify();
    }
}

/// A check reads neither what has left the window nor what does not matter, or else it would fail.
#[test]
fn a_check_reads_no_more_of_a_log_than_its_decision_depends_on() {
    let full = Full::new();
    full.damage(&format!("UPDATE segment SET body = x'ff' WHERE level = 0 AND NOT ({OLDEST})"));
    full.spend();
    assert_eq!(left(&full.limiter, "key"), 1);
    spend(&full.limiter, "key", 1);
    let denied = full.limiter.check("key").now().unwrap();
    assert_eq!((denied.is_allowed(), denied.retry_after()), (false, A_SECOND));
    // This one depends on an entry in the middle.
    assert_fails(full.limiter.check("key").cost(500).now(), ErrorKind::Corrupt);
}

#[test]
fn a_denial_tells_of_any_entry_when_it_leaves() {
    let full = Full::new();
    spend(&full.limiter, "key", 1);
    for cost in 1..=u64::from(LIMIT) {
        let denied = full.limiter.check("key").cost(cost).now().unwrap();
        assert_eq!(denied.retry_after(), Micros::from_secs(cost), "{cost}");
    }
}

#[test]
fn segments_go_with_what_is_forgotten() {
    let full = Full::new();
    full.clock.advance(Micros::from_secs(LIMIT.into()));
    // All of the log has left, but its record is still there.
    full.spend();
    assert_eq!((full.folder.segments(), full.folder.rows()), (0, 1));
    (1..LIMIT).for_each(|_| full.spend());
    assert!(20 < full.folder.segments());

    full.clock.advance(Micros::from_secs(LIMIT.into()));
    full.forget(|_| ());
    assert_eq!(full.folder.rows(), 1);
    full.folder.verify();
}

#[test]
fn long_logs_are_forgotten_a_few_hundred_segments_at_a_time() {
    let limit = 40_000;
    let full = Full::of(limit);
    for key in ["second", "third", "fourth"] {
        (0..limit / 4).for_each(|_| full.spend_on(key));
    }
    // The store may begin to forget as soon as they have left.
    let mut before = full.folder.segments();
    assert!(2_000 < before);
    full.clock.advance(Micros::from_secs(limit.into()));
    full.forget(|left_over| {
        assert!(before - left_over <= 2 * 512, "{before} {left_over}");
        before = left_over;
        assert_eq!(left(&full.limiter, "key"), u64::from(limit));
    });
    full.folder.verify();
}

/// One entry, of the thousandth second, in the place of 32.
#[test]
fn a_segment_that_is_too_short_is_corrupt() {
    let full = Full::new();
    full.damage("UPDATE segment SET body = x'018094ebdc0301' WHERE level = 0 AND number = 31");
    // The row has fewer entries, so one of these has to be taken off that segment.
    let failed = (0..200).find_map(|_| full.limiter.refund("key").now().err());
    assert_fails(failed.map_or(Ok(()), Err), ErrorKind::Corrupt);
}

/// If the first segments have the entries of the last one, those between are from no time at all.
#[test]
fn segments_out_of_order_are_corrupt() {
    let full = Full::new();
    let last = "SELECT body FROM segment WHERE level = 0 ORDER BY number DESC";
    full.damage(&format!("UPDATE segment SET body = ({last}) WHERE level = 0"));
    assert_fails(full.limiter.refund("key").now(), ErrorKind::Corrupt);
    assert_fails(full.limiter.check("key").cost(500).now(), ErrorKind::Corrupt);
}

#[test]
fn a_refund_gives_back_entries_of_any_segment() {
    let full = Full::new();
    assert_eq!(full.limiter.refund("key").cost(700).now().unwrap().remaining, 701);
    assert_eq!(left(&full.limiter, "key"), 701);
    assert!(full.folder.segments() <= 10);
    (0..701).for_each(|_| spend(&full.limiter, "key", 1));
    assert_eq!(left(&full.limiter, "key"), 0);
    full.folder.verify();
}
