//! A recorder that misbehaves harms no decision.

use std::{
    panic::resume_unwind,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc::channel,
    },
};

use ratelimit_backend::{Backend, BackendError, ErrorKind, Names, Reply, SyncBackend};
use ratelimit_core::{Action, Batch, Source, store::Decisions};
use ratelimit_metrics::{Buffered, Event, Observed, Statistics, Verdict};

use crate::support::{Failing, Run, decision, memory, policy, shared, size, tell, three};

/// Panics without a word.
fn panic(_: &Event<'_>) {
    resume_unwind(Box::new(()));
}

// FAULTS 54, 195.
#[test]
fn a_recorder_that_panics_is_caught_and_counted() {
    let store = Observed::new(Failing::new(ErrorKind::Timeout), Run(panic));
    let limiter = three(store.clone(), "api");
    let answers = [(); 4].map(|()| limiter.check("user").now().unwrap().is_allowed());
    assert_eq!(answers, [true, true, true, false]);
    assert!(limiter.check("fail").now().is_err());
    assert_eq!(store.missed(), 5);
}

// FAULTS 54.
#[test]
fn what_a_recorder_throws_may_throw_again() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            resume_unwind(Box::new(()));
        }
    }
    let store = Observed::new(memory(), Run(|_: &Event<'_>| resume_unwind(Box::new(Bomb))));
    assert!(three(store.clone(), "api").check("user").now().unwrap().is_allowed());
    assert_eq!(store.missed(), 1);
}

/// A store that gives no decision at all.
struct Mute(crate::support::Store);

impl Backend for Mute {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        Reply::ready(self.apply_now(batch, action))
    }

    fn names(&self) -> &Names {
        self.0.names()
    }
}

impl SyncBackend for Mute {
    fn apply_now(&self, _: Batch<'_>, _: Action) -> Result<Decisions, BackendError> {
        Ok(Decisions::from_iter([]))
    }
}

// FAULTS 196.
#[test]
fn a_store_that_gives_too_few_decisions_is_an_error_here_as_it_is_for_the_caller() {
    let (theirs, statistics) = shared(Statistics::new());
    assert!(three(Observed::new(Mute(memory()), theirs), "api").check("user").now().is_err());
    let snapshot = statistics.snapshot();
    assert_eq!((snapshot.calls.errors, snapshot.limiters[0].errors.protocol), (1, 1));
}

// FAULTS 195.
#[test]
fn one_recorder_that_panics_hides_nothing_from_the_others() {
    let (first, last) = (Statistics::new(), Statistics::new());
    let ((first, f), (last, l)) = (shared(first), shared(last));
    let store = Observed::new(memory(), (first, vec![Run(panic)], Some(last)));
    let _ = three(store.clone(), "api").check("user").now().unwrap();
    assert_eq!((f.snapshot().calls.total(), l.snapshot().calls.total()), (1, 1));
    assert_eq!(store.missed(), 1);
}

// FAULTS 52.
#[test]
fn a_recorder_may_ask_about_the_very_key() {
    type Watched = Observed<crate::support::Store, Run<Box<dyn Fn(&Event<'_>) + Send + Sync>>>;
    let (sender, receiver) = channel::<ratelimit_algorithms::Limiter<Watched>>();
    let asked = Mutex::new((receiver, None));
    let record: Box<dyn Fn(&Event<'_>) + Send + Sync> = Box::new(move |event| {
        let (receiver, limiter) = &mut *asked.lock().unwrap();
        let limiter = limiter.get_or_insert_with(|| receiver.recv().unwrap());
        let decision = limiter.check(event.key.as_bytes()).now().unwrap();
        assert!(decision.is_allowed());
    });
    let store = Observed::new(memory(), Run(record));
    let limiter = three(store.clone(), "api");
    sender.send(limiter.clone()).unwrap();
    assert_eq!(limiter.check("user").now().unwrap().remaining, 2);
    assert_eq!(limiter.peek("user").now().unwrap().remaining, 1);
    // What it asked itself was decided, and not told to it again.
    assert_eq!(store.missed(), 2);
}

// FAULTS 195.
#[test]
fn a_recorder_that_is_stuck_keeps_nobody_waiting() {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let seen = AtomicU64::new(0);
    let stuck = Run(move |_: &Event<'_>| {
        // Fails at once when the test has let go.
        let _ = wait.lock().unwrap().recv();
        seen.fetch_add(1, Ordering::Relaxed);
    });
    let (theirs, buffered) = shared(Buffered::new(stuck, size(4)).unwrap());
    let limiter = three(Observed::new(memory(), theirs), "api");
    let answers = [(); 20].map(|()| limiter.check("user").now().unwrap().is_allowed());
    assert_eq!(answers.iter().filter(|&&is_allowed| is_allowed).count(), 3);
    // Four are in the buffer, and perhaps one in its hands.
    assert!((15..=16).contains(&buffered.dropped()), "{buffered:?}");
    drop(go);
    buffered.flush();
    assert!((15..=16).contains(&buffered.dropped()));
}

// FAULTS 195.
#[test]
fn what_is_buffered_is_told_as_it_was_or_counted_as_dropped() {
    let buffered = Buffered::new(Statistics::new(), size(10_000)).unwrap();
    let (theirs, buffered) = shared(buffered);
    let limiter = three(Observed::new(Failing::new(ErrorKind::Full), theirs), "api");
    let direct = Statistics::new();
    for _ in 0..5 {
        let _ = limiter.check("user").now();
        let _ = limiter.check("fail").now();
    }
    buffered.flush();
    let api = policy("api");
    for is_allowed in [true, true, true, false, false] {
        tell(&direct, &api, "user", Ok(&decision(&api, is_allowed, Source::Store)));
    }
    let calls = buffered.get_ref().snapshot().calls;
    assert_eq!((calls.allowed, calls.denied, calls.errors), (3, 2, 5));
    assert_eq!(calls.denied, direct.snapshot().calls.denied);
    assert_eq!(buffered.dropped(), 0);
}

// FAULTS 54.
#[test]
fn a_recorder_that_panics_on_its_own_thread_goes_on() {
    let told = AtomicU64::new(0);
    let (told, ours) = shared(told);
    let moody = Run(move |event: &Event<'_>| {
        told.fetch_add(1, Ordering::Relaxed);
        if event.verdict == Verdict::Allow {
            panic(event);
        }
    });
    let (theirs, buffered) = shared(Buffered::new(moody, size(100)).unwrap());
    let limiter = three(Observed::new(memory(), theirs), "api");
    for _ in 0..5 {
        let _ = limiter.check("user").now().unwrap();
    }
    buffered.flush();
    assert_eq!((ours.load(Ordering::Relaxed), buffered.dropped()), (5, 3));
}

#[test]
fn the_thread_of_a_buffer_ends_with_it() {
    let (lives, ended) = channel::<()>();
    let lives = Mutex::new(lives);
    let buffered = Buffered::new(Run(move |_: &Event<'_>| drop(lives.lock())), size(10)).unwrap();
    let api = policy("api");
    tell(&buffered, &api, "user", Ok(&decision(&api, true, Source::Store)));
    drop(buffered);
    // The recorder is dropped by the last who has it: the thread.
    let waited = ended.recv_timeout(std::time::Duration::from_secs(20));
    assert_eq!(waited, Err(std::sync::mpsc::RecvTimeoutError::Disconnected));
}

#[test]
fn a_buffer_keeps_no_more_of_a_long_key_than_it_says() {
    let lengths = Mutex::new(Vec::new());
    let (lengths, ours) = shared(lengths);
    let measure = Run(move |event: &Event<'_>| {
        lengths.lock().unwrap().push(event.key.as_bytes().len());
    });
    let (theirs, buffered) = shared(Buffered::new(measure, size(10)).unwrap());
    let limiter = three(Observed::new(memory(), theirs), "api");
    let _ = limiter.check(&vec![7; 1 << 20]).now().unwrap();
    let _ = limiter.check("user").now().unwrap();
    buffered.flush();
    assert_eq!(*ours.lock().unwrap(), [1024, 4]);
}
