//! A wall clock that is set, or wrong.

use ratelimit_algorithms::{
    BackendError, Clock, ErrorKind, Limiter, ManualClock, Micros, Timestamp, TokenBucket,
};
use ratelimit_sqlite::Sqlite;

use crate::store_under_test::{Folder, assert_fails};

const NOON: Timestamp = Timestamp::from_micros(1_700_000_000_000_000).unwrap();

const AN_HOUR: Micros = Micros::from_secs(3_600);

/// Ten permits, one of which comes back each hour.
const SLOW: TokenBucket = TokenBucket::per_hour(1).burst(10);

// FAULTS 185.
#[test]
fn a_clock_that_steps_across_a_restart_grants_no_more_than_time() {
    let folder = Folder::new();
    let spend_all = |now| {
        let store = folder.settings().with_clock(ManualClock::new(now)).open().unwrap();
        let limiter = Limiter::new(store, "slow", SLOW).unwrap();
        (0..20).filter(|_| limiter.check("key").now().unwrap().is_allowed()).count()
    };
    assert_eq!(spend_all(NOON), 10);
    assert_eq!(spend_all(NOON - AN_HOUR), 0, "one hour back");
    assert_eq!(spend_all(NOON), 1, "and forward: it counts from where it was set back to");
    assert_eq!(spend_all(Timestamp::EPOCH), 0);
    assert_eq!(spend_all(Timestamp::MAX), 10, "one full refill");
    assert_eq!(spend_all(Timestamp::MAX), 0);
    assert_eq!(spend_all(NOON), 0);
}

// FAULTS 37, 185.
#[test]
fn a_clock_before_1970_is_an_error_and_charges_nothing() {
    #[derive(Debug)]
    struct Before1970;

    impl Clock for Before1970 {
        fn now(&self) -> Result<Timestamp, BackendError> {
            Err(BackendError::not_applied(ErrorKind::Clock))
        }
    }

    let folder = Folder::new();
    let open = |settings: ratelimit_sqlite::SqliteSettings| -> Limiter<Sqlite> {
        Limiter::new(settings.open().unwrap(), "slow", SLOW).unwrap()
    };
    let wrong = open(folder.settings().with_clock(Before1970));
    assert_fails(wrong.check("key").now(), ErrorKind::Clock);
    assert_fails(wrong.peek("key").now(), ErrorKind::Clock);
    assert_eq!(open(folder.settings()).check("key").now().unwrap().remaining, 9);
}
