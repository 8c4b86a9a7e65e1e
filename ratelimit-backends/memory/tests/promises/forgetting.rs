//! Nobody notices what was forgotten: a store that hardly has room answers as one that never
//! forgets, or says that it has no room.

use ratelimit_backend::Clock;
use ratelimit_conformance::{Dice, Reference, one_of_each};
use ratelimit_core::{Action, Batch, Check, Micros, Policy};

use crate::asking::{ask_all, check, is_refused, memory};

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
    let mut reference = Reference::default();
    let mut dice = Dice::new(most);
    let (mut answered, mut refused) = (0_u32, 0_u32);
    for step in 0..STEPS {
        let now = clock.now().expect("tests stay within representable time");
        let later = match dice.below(8) {
            0..4 => now,
            4..7 => now + Micros::new(dice.any_size(27)),
            _ => now - Micros::new(dice.any_size(24)),
        };
        let now = later.max(reference.earliest(now));
        clock.set(now);

        let checks = some_checks(&mut dice, policies, most);
        let action = some_action(&mut dice);
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

fn some_checks<'a>(dice: &mut Dice, policies: &'a [Policy], most: u64) -> Vec<Check<'a>> {
    let mut checks: Vec<Check<'_>> = Vec::new();
    for _ in 0..=dice.below(most) {
        let policy = dice.pick(policies);
        let key = *dice.pick(&KEYS);
        let check = check(policy, key, 1 + dice.below(4));
        if checks.iter().all(|known| !known.is_about(&check)) {
            checks.push(check);
        }
    }
    checks
}

const fn some_action(dice: &mut Dice) -> Action {
    match dice.below(20) {
        0..14 => Action::Spend,
        14..16 => Action::Peek,
        16..19 => Action::Refund,
        _ => Action::Reset,
    }
}

const KEYS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
const ROOM: usize = 4;
const STEPS: u32 = 20_000;
