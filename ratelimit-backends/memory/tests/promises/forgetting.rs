//! Nobody notices what was forgotten: a store that hardly has room answers as one that never
//! forgets, or says that it has no room.

use fastrand::Rng;
use ratelimit_backend::Clock;
use ratelimit_conformance::{ReferenceStore, one_of_each};
use ratelimit_core::{Action, Batch, Check, Micros, Policy};

use crate::store_under_test::{ask_all, check, is_refused, memory};

#[test]
// FAULTS 65.
fn a_store_with_little_room_answers_as_one_with_all_the_room() {
    for policy in one_of_each(10) {
        compare_with_little_room(&[policy], 1);
    }
}

#[test]
fn batches_find_nothing_forgotten() {
    compare_with_little_room(&one_of_each(10), 3);
}

/// Asks a store that has room for a few keys about more, up to `most` of them as one.
fn compare_with_little_room(policies: &[Policy], most: u64) {
    let (memory, clock) = memory(ROOM);
    let mut reference = ReferenceStore::default();
    let mut random = Rng::with_seed(most);
    let (mut answered, mut refused) = (0_u32, 0_u32);
    for step in 0..STEPS {
        let now = clock.now().expect("tests stay within representable time");
        let later = match random.u8(..8) {
            0..4 => now,
            4..7 => now + Micros::new(1 << random.u32(..27)),
            _ => now - Micros::new(1 << random.u32(..24)),
        };
        let now = later.max(reference.earliest(now, clock.retention()));
        clock.set(now);

        let checks = some_checks(&mut random, policies, most);
        let action = some_action(&mut random);
        let found = ask_all(&memory, &checks, action);
        assert!(memory.keys() <= ROOM);
        if is_refused(&found) {
            refused += 1;
            continue;
        }
        let batch = Batch::new(&checks).expect("no two about the same");
        let wanted = reference.apply(batch, action, now).ok();
        assert_eq!(found.ok(), wanted, "step {step}: {action:?} {checks:#?}");
        answered += 1;
    }
    assert!(
        STEPS < 4 * answered && STEPS < 100 * refused,
        "{answered} answered, {refused} refused"
    );
}

fn some_checks<'a>(random: &mut Rng, policies: &'a [Policy], most: u64) -> Vec<Check<'a>> {
    let mut checks: Vec<Check<'_>> = Vec::new();
    for _ in 0..random.u64(1..=most) {
        let policy = random.choice(policies).expect("there are some");
        let key = KEYS[random.usize(..KEYS.len())];
        let check = check(policy, key, random.u64(1..=4));
        if checks.iter().all(|known| !known.is_about(&check)) {
            checks.push(check);
        }
    }
    checks
}

fn some_action(random: &mut Rng) -> Action {
    match random.u8(..20) {
        0..14 => Action::Spend,
        14..16 => Action::Peek,
        16..19 => Action::Refund,
        _ => Action::Reset,
    }
}

const KEYS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
const ROOM: usize = 4;
const STEPS: u32 = 20_000;
