//! The adapter's calls to a store, and a store that misbehaves.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use ratelimit_backend::{
    Backend, BackendError, Change, Effect, ErrorKind, ManualClock, Store, StoreBackend, Swap,
    Versioned,
};
use ratelimit_core::{
    Action, Batch, Check, Decision, Key, Micros, Policy, adaptive, sliding_window_log, token_bucket,
};

#[tokio::test]
async fn what_changes_nothing_writes_nothing() {
    let (backend, _) = backend();
    let policy = bucket();
    for action in [Action::Peek, Action::Refund, Action::Reset] {
        let _ = ask(&backend, &policy, 1, action).await.expect("the store works");
    }
    assert!(ask(&backend, &policy, 10, Action::Spend).await.is_ok_and(|spent| spent.is_allowed()));
    let denied = ask(&backend, &policy, 1, Action::Spend).await.expect("the store works");
    assert!(!denied.is_allowed());
    let _ = ask(&backend, &policy, 1, Action::Peek).await.expect("the store works");
    assert_eq!(backend.get_ref().written(), [Some(Micros::from_secs(10))], "one charge, one write");
}

#[tokio::test]
async fn an_entry_lives_until_it_is_as_good_as_new() {
    let (backend, clock) = backend();
    let window = Duration::from_secs(1);
    let quota = sliding_window_log::Quota::new(10, window).expect("good numbers");
    let policy = Policy::new("log", quota).expect("a good name");
    for _ in 0..2 {
        assert!(ask(&backend, &policy, 1, Action::Spend).await.is_ok());
        clock.advance(Micros::new(1));
    }
    for _ in 0..2 {
        assert!(ask(&backend, &policy, 1, Action::Refund).await.is_ok());
    }
    let wanted = [1_000_000, 1_000_000, 999_998].map(|micros| Some(Micros::new(micros)));
    let wanted = [&wanted[..], &[None]].concat();
    assert_eq!(backend.get_ref().written(), wanted, "and what is as good as new is removed");
}

#[tokio::test]
async fn keys_are_stored_under_the_name_and_sensors_beside_them() {
    let (backend, _) = backend();
    let mut settings = adaptive::Parameters::new(10, Duration::from_secs(60));
    settings.scope = adaptive::Scope::Shared;
    let quota = adaptive::Quota::new(&settings).expect("good numbers");
    let policy = Policy::new("shared", quota).expect("a good name");
    assert!(ask(&backend, &policy, 1, Action::Spend).await.is_ok());
    let mut keys: Vec<_> = backend.get_ref().lock().entries.keys().cloned().collect();
    keys.sort();
    assert_eq!(keys, [b"shared#".to_vec(), b"shared:key".to_vec()]);
}

#[tokio::test]
async fn bytes_that_are_no_record_are_an_error_until_a_reset() {
    for (bytes, kind) in [
        (&b""[..], ErrorKind::Corrupt),
        (b"\x01\x04\xff", ErrorKind::Corrupt),
        (b"\xee\x04\x01", ErrorKind::Incompatible),
    ] {
        let (backend, _) = backend();
        backend.get_ref().lock().entries.insert(b"bucket:key".to_vec(), bytes.to_vec());
        for action in [Action::Spend, Action::Peek, Action::Refund] {
            let error = ask(&backend, &bucket(), 1, action).await.expect_err("it is no record");
            assert_eq!((error.kind(), error.effect()), (kind, Effect::NotApplied), "{bytes:?}");
        }
        assert_eq!(backend.get_ref().written(), [], "{bytes:?}: left as it was");
        assert!(ask(&backend, &bucket(), 1, Action::Reset).await.is_ok());
        assert!(ask(&backend, &bucket(), 10, Action::Spend).await.is_ok());
    }
}

#[tokio::test]
async fn contention_is_overload_in_the_end_and_nothing_is_charged() {
    let (backend, _) = backend();
    backend.get_ref().lock().others_first = 63;
    assert!(ask(&backend, &bucket(), 1, Action::Spend).await.is_ok(), "the last attempt counts");

    backend.get_ref().lock().others_first = u32::MAX;
    let error = ask(&backend, &bucket(), 1, Action::Spend).await.expect_err("others are first");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Overloaded, Effect::NotApplied));
    let source = error.cause().map(ToString::to_string);
    assert_eq!(source.as_deref(), Some("others were first, 64 times in a row"));
    assert_eq!(backend.get_ref().written().len(), 1);
}

#[tokio::test]
async fn an_error_of_the_store_is_passed_on_and_nothing_is_tried_again() {
    let (backend, _) = backend();
    backend.get_ref().lock().broken = Some(BackendError::unknown(ErrorKind::Timeout));
    let error = ask(&backend, &bucket(), 1, Action::Spend).await.expect_err("it is broken");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::Unknown));
    assert!(ask(&backend, &bucket(), 1, Action::Spend).await.is_ok(), "it broke once");
}

#[test]
fn debug_shows_nothing_of_the_store() {
    let (backend, _) = backend();
    assert!(format!("{backend:?}").starts_with("StoreBackend { clock: ManualClock {"));
}

/// A store that writes down what it is asked to do.
#[derive(Default)]
struct Diary(Mutex<Pages>);

#[derive(Default)]
struct Pages {
    entries: HashMap<Vec<u8>, Vec<u8>>,
    /// The TTL of each write; `None` for a removal.
    written: Vec<Option<Micros>>,
    /// The number of swaps that others are yet to be ahead of.
    others_first: u32,
    broken: Option<BackendError>,
}

impl Diary {
    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().expect("no holder panics")
    }

    fn written(&self) -> Vec<Option<Micros>> {
        self.lock().written.clone()
    }
}

#[async_trait]
impl Store for Diary {
    type Version = Vec<u8>;

    async fn load(&self, key: &[u8]) -> Result<Option<Versioned<Vec<u8>>>, BackendError> {
        let entry = self.lock().entries.get(key).cloned();
        Ok(entry.map(|bytes| Versioned { version: bytes.clone(), bytes }))
    }

    async fn compare_and_swap(&self, swaps: &[Swap<'_, Vec<u8>>]) -> Result<bool, BackendError> {
        let mut pages = self.lock();
        if let Some(error) = pages.broken.take() {
            return Err(error);
        }
        if 0 < pages.others_first {
            pages.others_first -= 1;
            return Ok(false);
        }
        for swap in swaps {
            assert_eq!(swap.loaded, pages.entries.get(swap.key), "nobody else is here");
            match swap.change {
                Change::Keep => {}
                Change::Put { value, ttl } => {
                    pages.entries.insert(swap.key.to_vec(), value.to_vec());
                    pages.written.push(Some(ttl));
                }
                Change::Remove => {
                    pages.entries.remove(swap.key);
                    pages.written.push(None);
                }
            }
        }
        Ok(true)
    }
}

fn backend() -> (StoreBackend<Diary, ManualClock>, ManualClock) {
    let clock = ManualClock::default();
    (StoreBackend::with_clock(Diary::default(), clock.clone()), clock)
}

/// Ten tokens, one of which comes back each second.
fn bucket() -> Policy {
    let quota = token_bucket::Quota::new(10, 1, Duration::from_secs(1)).expect("good numbers");
    Policy::new("bucket", quota).expect("a good name")
}

async fn ask(
    backend: &impl Backend,
    policy: &Policy,
    cost: u64,
    action: Action,
) -> Result<Decision, BackendError> {
    let key = Key::new("key").expect("a short key");
    let check = Check::new(policy, key, cost).expect("a cost that fits");
    Ok(backend.apply(Batch::one(&check), action).await?[0])
}
