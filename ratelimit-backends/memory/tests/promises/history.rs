//! Threads see no more than one thread could have seen: recorded histories are linearizable.
//!
//! Each call is recorded with the moments at which it began and ended. A history is right if its
//! calls can be put into one order that keeps every call after those that had ended before it
//! began, and in which the reference gives the same answers. The search for it is Wing and Gong's.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use crate::Memory;
use fastrand::Rng;
use ratelimit_backend::{Clock, ManualClock};
use ratelimit_conformance::{ReferenceStore, one_of_each};
use ratelimit_core::{Action, Batch, Decision, Micros, Policy, Timestamp};

use crate::store_under_test::{ask_all, check, memory};

#[test]
// FAULTS 48.
fn three_threads_see_what_one_could_have_seen() {
    for round in 0..ROUNDS {
        for policy in one_of_each(3) {
            let policies = [policy];
            let (start, mut calls) = record(&policies, round);
            let order = linearize(&mut calls, start, &ReferenceStore::default(), &policies);
            assert!(order, "round {round}: no order explains {calls:#?}");
        }
    }
}

/// The calls of a thread.
#[derive(Clone, Copy, Debug)]
enum Move {
    Ask {
        action: Action,
        keys: &'static [&'static str],
        cost: u64,
    },
    /// Lets time pass, on the clock that the store goes by.
    Wait(Micros),
}

/// A move, when it was made, and what came of it.
#[derive(Clone, Debug)]
struct Call {
    made: Move,
    began: u64,
    ended: u64,
    saw: Vec<Decision>,
}

/// Lets three threads make six random moves each.
fn record(policies: &[Policy], seed: u64) -> (Timestamp, Vec<Call>) {
    let (memory, clock) = memory(100);
    let start = clock.now().expect("tests stay within representable time");
    let (moments, barrier) = (AtomicU64::new(0), Barrier::new(THREADS));
    let run = |thread: u64| {
        let mut random = Rng::with_seed(seed * 8 + thread);
        let moves: [Move; MOVES] = std::array::from_fn(|_| some_move(&mut random));
        barrier.wait();
        moves.map(|made| {
            // In one order with each other, and with what the store does.
            let began = moments.fetch_add(1, Ordering::SeqCst);
            let saw = make(made, &memory, &clock, policies);
            Call { made, began, ended: moments.fetch_add(1, Ordering::SeqCst), saw }
        })
    };
    let run = &run;
    let calls = thread::scope(|scope| {
        let threads = [0, 1, 2].map(|thread| scope.spawn(move || run(thread)));
        threads.map(|thread| thread.join().expect("no thread panics"))
    });
    (start, calls.concat())
}

fn some_move(random: &mut Rng) -> Move {
    let action = match random.u8(..12) {
        0..7 => Action::Spend,
        7 | 8 => Action::Refund,
        9 => Action::Peek,
        10 => Action::Reset,
        _ => return Move::Wait(Micros::new(1 << random.u32(..27))),
    };
    let keys = KEYS[random.usize(..KEYS.len())];
    Move::Ask { action, keys, cost: random.u64(1..=2) }
}

fn make(
    made: Move,
    memory: &Memory<ManualClock>,
    clock: &ManualClock,
    policies: &[Policy],
) -> Vec<Decision> {
    match made {
        Move::Ask { action, keys, cost } => {
            let checks: Vec<_> = keys.iter().map(|key| check(&policies[0], key, cost)).collect();
            ask_all(memory, &checks, action).expect("there is room")
        }
        Move::Wait(length) => {
            clock.advance(length);
            Vec::new()
        }
    }
}

/// Returns true if some order of `calls` explains what they saw, beginning with `reference` at `now`.
fn linearize(
    calls: &mut Vec<Call>,
    now: Timestamp,
    reference: &ReferenceStore,
    policies: &[Policy],
) -> bool {
    let Some(first_end) = calls.iter().map(|call| call.ended).min() else { return true };
    for index in 0..calls.len() {
        if first_end < calls[index].began {
            continue;
        }
        let call = calls.swap_remove(index);
        let (mut now, mut reference) = (now, reference.clone());
        let is_explained = match call.made {
            Move::Ask { action, keys, cost } => {
                let checks: Vec<_> =
                    keys.iter().map(|key| check(&policies[0], key, cost)).collect();
                let batch = Batch::new(&checks).expect("no two about the same");
                reference.apply(batch, action, now).ok().as_ref() == Some(&call.saw)
            }
            Move::Wait(length) => {
                now = now + length;
                true
            }
        };
        if is_explained && linearize(calls, now, &reference, policies) {
            return true;
        }
        calls.push(call);
        let last = calls.len() - 1;
        calls.swap(index, last);
    }
    false
}

const KEYS: [&[&str]; 5] = [&["a"], &["a"], &["b"], &["a", "b"], &["b", "a"]];
const THREADS: usize = 3;
const MOVES: usize = 6;
const ROUNDS: u64 = 1_000;
