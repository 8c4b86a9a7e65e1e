//! A store without space, and the space that many keys take.

use std::{fs, num::NonZeroUsize};

use ratelimit_algorithms::ErrorKind;
use ratelimit_servers::effort;

use crate::store_under_test::{Folder, assert_fails, left, limiter, spend};

/// No file of the other process may grow beyond a size, as if the disk were full.
// FAULTS 179, 218.
#[cfg(unix)]
#[test]
fn a_file_that_may_not_grow_is_full_until_it_may() {
    let folder = Folder::new();
    // The shell ignores the signal that would end it, and hands that down.
    let output = crate::child::in_shell(r#"trap "" XFSZ"#, "fill", &folder.file());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder.verify();
}

/// The work of the other process.
#[cfg(unix)]
pub(crate) fn fill(settings: ratelimit_sqlite::SqliteSettings) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let before = getrlimit(Resource::Fsize);
    let limit = |bytes| setrlimit(Resource::Fsize, Rlimit { current: bytes, ..before }).unwrap();
    let limiter = limiter(&settings.open().unwrap(), 10);
    let key = |key: u32| format!("{key} {}", "long ".repeat(200));
    spend(&limiter, "known", 1);

    let mut keys = 0;
    for kib in [64, 128, 512] {
        limit(Some(kib << 10));
        let refused = loop {
            keys += 1;
            let answer = limiter.check(&key(keys)).now();
            if answer.is_err() {
                break answer;
            }
            assert!(keys < 2_000, "nothing is full");
        };
        assert_fails(refused, ErrorKind::Full);
        for _ in 0..3 {
            assert_fails(limiter.check(&key(keys)).now(), ErrorKind::Full);
        }
        assert_eq!((left(&limiter, &key(keys)), left(&limiter, &key(keys - 1))), (10, 9));

        limit(before.current);
        spend(&limiter, key(keys), 1);
        assert_eq!((left(&limiter, &key(keys)), left(&limiter, "known")), (9, 9));
    }
}

/// The space that `SqliteSettings::with_keys_max` says a million keys take.
// FAULTS 191.
#[test]
fn a_flood_of_keys_stops_at_the_cap_and_takes_the_space_that_is_stated() {
    const ROW_BYTES_MAX: u64 = 95;
    let keys_max = effort(1_000_000, 20_000);

    let folder = Folder::new();
    let settings = folder.settings().with_keys_max(NonZeroUsize::new(keys_max).unwrap());
    let limiter = limiter(&settings.open().unwrap(), 10);
    // In no order, as clients come.
    let key = |key: usize| format!("user:{:07}", key * 7_368_787 % 10_000_000);
    (0..keys_max).for_each(|number| spend(&limiter, key(number), 1));
    for number in keys_max..keys_max + 100 {
        assert_fails(limiter.check(&key(number)).now(), ErrorKind::Capacity);
    }
    spend(&limiter, key(0), 1);
    assert_eq!((left(&limiter, &key(0)), left(&limiter, &key(1))), (8, 9));
    drop(limiter);
    assert_eq!(folder.rows() as usize, keys_max);
    let bytes = fs::metadata(folder.file()).unwrap().len() / keys_max as u64;
    println!("{bytes} bytes a key of {keys_max}");
    assert!(bytes <= ROW_BYTES_MAX, "{bytes} bytes a key");
}
