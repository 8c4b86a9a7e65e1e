//! Records by their keys, and things that are not kept: nothing half done, no secret in an error.

use ratelimit_algorithms::{ErrorKind, Limiter, Limits, TokenBucket};
use ratelimit_sqlite::Sqlite;

use crate::store_under_test::{Folder, assert_fails, backend_error, left, limiter, spend};

#[test]
fn hostile_keys_are_distinct_and_harmless() {
    let long = "k".repeat(1 << 19);
    let longer = [long.as_bytes(), b""].concat();
    let keys: [&[u8]; 18] = [
        b"",
        b"'; DROP TABLE record; --",
        b"%",
        b"_",
        b"\"",
        b"1",
        b"\x31\x00",
        b"a",
        b"A",
        b"nul",
        b"nul\0x",
        b"/",
        b"#",
        b"permits/",
        b"permits#",
        b"\xff\xfe",
        b"\xff",
        &longer,
    ];
    let folder = Folder::new();
    let limiter = limiter(&folder.open(), 100);
    for (spent, key) in (1..).zip(keys) {
        spend(&limiter, key, spent);
    }
    for (spent, key) in (1..).zip(keys) {
        assert_eq!(limiter.peek(key).now().unwrap().remaining, 100 - spent);
    }
    drop(limiter);
    assert_eq!(folder.rows() as usize, keys.len());
    folder.verify();
}

#[test]
fn names_that_run_into_keys_are_distinct() {
    let store = Sqlite::in_memory().unwrap();
    let [one, other] = ["a", "a.b"]
        .map(|name| Limiter::new(store.clone(), name, TokenBucket::per_day(10)).unwrap());
    spend(&one, ".b/key", 1);
    spend(&one, "b", 1);
    assert_eq!((left(&other, "key"), left(&other, "")), (10, 10));
}

#[test]
fn a_long_key_is_kept_apart_in_bounded_room() {
    let folder = Folder::new();
    let limiter = limiter(&folder.open(), 10);
    let long = "k".repeat(1 << 19);
    let keys = [format!("{long}1"), format!("{long}2"), long[..129].into(), long[..128].into()];
    for (permits, key) in (1..).zip(&keys) {
        spend(&limiter, key, permits);
    }
    assert_eq!(keys.each_ref().map(|key| left(&limiter, key)), [9, 8, 7, 6]);
    let longest: u32 = folder
        .stranger()
        .query_row("SELECT max(length(slot)) FROM record", [], |row| row.get(0))
        .unwrap();
    assert_eq!(longest as usize, "permits/".len() + 128);
}

#[test]
fn a_state_that_is_none_is_corrupt_until_a_reset() {
    let folder = Folder::new();
    let limiter = limiter(&folder.open(), 10);
    spend(&limiter, "key", 1);
    spend(&limiter, "other", 1);
    let damage = "UPDATE record SET state = x'01ff' WHERE slot = CAST('permits/key' AS BLOB)";
    assert_eq!(folder.stranger().execute(damage, []).unwrap(), 1);

    assert_fails(limiter.check("key").now(), ErrorKind::Corrupt);
    assert_fails(limiter.peek("key").now(), ErrorKind::Corrupt);
    assert_eq!(left(&limiter, "other"), 9);
    assert_eq!(limiter.reset("key").now().unwrap().remaining, 10);
    assert_eq!(limiter.check("key").now().unwrap().remaining, 9);
}

// FAULTS 189.
#[test]
fn a_batch_that_fails_leaves_nothing() {
    let folder = Folder::new();
    let store = folder.open();
    let (good, bad) = (limiter(&store, 10), {
        Limiter::new(store.clone(), "bad", TokenBucket::per_day(10)).unwrap()
    });
    spend(&good, "key", 1);
    spend(&bad, "key", 1);
    let damage = "UPDATE record SET state = x'' WHERE slot = CAST('bad/key' AS BLOB)";
    assert_eq!(folder.stranger().execute(damage, []).unwrap(), 1);

    let both = Limits::new(&good, "key", 1).and(&bad, "key", 1);
    assert_fails(both.check().now(), ErrorKind::Corrupt);
    assert_eq!(left(&good, "key"), 9);
}

/// The bad job of a group does not spoil the good ones.
#[tokio::test]
async fn an_error_concerns_its_own_caller_only() {
    let folder = Folder::new();
    let limiter = limiter(&folder.open(), 1_000);
    spend(&limiter, "bad", 1);
    folder.stranger().execute_batch("UPDATE record SET state = x''").unwrap();

    let limiter = limiter;
    let calls = (0..64).map(|call| {
        let limiter = limiter.clone();
        tokio::spawn(async move {
            let key = if call % 8 == 0 { "bad" } else { "good" };
            limiter.check(key).await.is_ok()
        })
    });
    let mut good = 0;
    for call in calls.collect::<Vec<_>>() {
        good += u64::from(call.await.unwrap());
    }
    assert_eq!(good, 56);
    assert_eq!(limiter.peek("good").await.unwrap().remaining, 1_000 - good);
}

// FAULTS 193.
#[test]
fn no_key_is_in_an_error() {
    const CANARY: &str = "canary";

    let folder = Folder::new();
    let store = folder.open();
    let limiter = limiter(&store, 10);
    spend(&limiter, CANARY, 1);
    let mut errors = Vec::new();
    for damage in ["UPDATE record SET state = x'02'", "DROP TABLE total", "DROP TABLE record"] {
        folder.stranger().execute_batch(damage).unwrap();
        errors.push(backend_error(
            limiter.check(if damage.contains("UPDATE") { CANARY } else { "canary 2" }).now(),
        ));
    }
    store.close();
    errors.push(backend_error(limiter.check(CANARY).now()));

    let kinds: Vec<_> = errors.iter().map(|error| error.kind()).collect();
    use ErrorKind::{Closed, Incompatible};
    assert_eq!(kinds, [Incompatible, Incompatible, Incompatible, Closed]);
    for error in &errors {
        let text = format!("{error} {error:?} {store:?}");
        assert!(!text.contains(CANARY), "{text}");
    }
}
