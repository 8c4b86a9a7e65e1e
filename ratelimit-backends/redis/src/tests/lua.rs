//! The scripts without a server: they run in Lua 5.1, as servers do, and write what the core writes.

use std::{collections::HashMap, env, time::Duration};

use fastrand::Rng;
use ratelimit_conformance::{one_of_each, random_policies};
use ratelimit_core::{
    Action, Batch, Check, Key, LIMIT_MAX, Policy, Receipt, Timestamp, in_flight,
    store::{Decisions, Record, apply},
};

use super::server::{Server, key};
use crate::encoding::Encoded;

/// Random batches of all algorithms, at times that step back now and then.
// FAULTS 166.
#[test]
fn scripts_decide_and_write_as_the_core_does() {
    let policies = one_of_each(8);
    for seed in 0..20 {
        let mut random = Rng::with_seed(seed);
        let (server, mut core) = (Server::new(), Core::default());
        let mut now = START;
        for step in 0..200 {
            now = match random.u8(..10) {
                0 => now - (1 << random.u32(..24)),
                _ => now + (1 << random.u32(..24)),
            };
            let checks = checks(&mut random, &policies);
            let batch = Batch::new(&checks).expect("names differ");
            let action = match random.u8(..12) {
                0..6 => Action::Spend,
                6..8 => Action::Take,
                8..10 => Action::Peek,
                _ => Action::Refund,
            };

            let told = core.apply(batch, action, at(now));
            let found = server.step(batch, action, at(now));
            assert_eq!(found, Some(told), "seed {seed}, step {step}: {action:?} {checks:?}");
            core.compare(
                &server,
                batch,
                &format!("seed {seed}, step {step}: {action:?} {checks:?}"),
            );
        }
    }
}

/// Numbers of any size, at the times at which something is due.
// FAULTS 166.
#[test]
fn scripts_compute_as_the_core_does_whatever_the_numbers() {
    let seeds = if env::var_os("RATELIMIT_FULL").is_some() { 2_000 } else { 40 };
    let mut scripted = 0;
    for seed in 0..seeds {
        let mut random = Rng::with_seed(seed);
        let (server, mut core) = (Server::new(), Core::default());
        // What admits nothing has no state.
        let mut policies = random_policies(&mut random);
        policies.retain(|policy| 0 < policy.limit());
        let (mut now, mut due) = (1_u64 << random.u32(..53), 0_u64);
        for step in 0..100 {
            let then = match random.u8(..10) {
                0 => now - now.min(1 << random.u32(..40)),
                1 => now + (1 << random.u32(..40)),
                2 => now + due,
                3 => now + due.saturating_sub(1),
                4 => now + random.u64(..=due),
                _ => now,
            };
            now = then.min(Timestamp::MAX.as_micros());
            let policy = &policies[random.usize(..policies.len())];
            let checks = checks(&mut random, std::slice::from_ref(policy));
            let batch = Batch::new(&checks).expect("there is one");
            let actions = [Action::Spend, Action::Spend, Action::Take, Action::Refund];
            let action = actions[random.usize(..actions.len())];
            let context = format!("seed {seed}, step {step}: {now} {action:?} {checks:?}");

            let (told, is_scripted) = step_both(&server, &mut core, (batch, action, now), &context);
            scripted += u32::from(is_scripted);
            let told = &told[0];
            let wait = if told.is_allowed() { told.reset_after } else { told.retry_after() };
            due = wait.as_micros();
        }
    }
    assert!(3_900 < scripted, "{scripted}");
}

/// Numbers change now and then, to and fro. What a script leaves to the core, the core does; that is
/// so for the changes themselves, and not while the numbers stay.
#[test]
fn scripts_leave_states_under_earlier_numbers_where_they_are() {
    let sets = [8, 5].map(one_of_each);
    let (mut scripted, mut kept, mut steps) = (0, 0, 0);
    for seed in 0..20 {
        let mut random = Rng::with_seed(seed);
        let (server, mut core) = (Server::new(), Core::default());
        let (mut now, mut set) = (START, 0);
        for step in 0..300 {
            now = match random.u8(..40) {
                0 => now - (1 << random.u32(..20)),
                _ => now + (1 << random.u32(..20)),
            };
            set = if random.u8(..30) == 0 { 1 - set } else { set };
            let checks = checks(&mut random, &sets[set]);
            let batch = Batch::new(&checks).expect("names differ");
            let actions = [Action::Spend, Action::Spend, Action::Take, Action::Refund];
            let action = actions[random.usize(..actions.len())];
            let context = format!("seed {seed}, step {step}: {action:?} {checks:?}");

            let (_, is_scripted) = step_both(&server, &mut core, (batch, action, now), &context);
            scripted += u32::from(is_scripted);
            steps += 1;
            let is_kept = |key: String| core.0.get(&key).is_some_and(|it| !it.earlier().is_empty());
            kept += u32::from(batch.slots().map(key).any(is_kept));
        }
    }
    assert!(steps / 2 < scripted && steps / 4 < kept, "{scripted}, {kept} of {steps}");
}

/// Steps both, by the script if it decides, and compares decisions and records. Returns the decisions, and
/// true if the script has decided.
fn step_both(
    server: &Server,
    core: &mut Core,
    (batch, action, now): (Batch<'_>, Action, u64),
    context: &str,
) -> (Decisions, bool) {
    let told = core.apply(batch, action, at(now));
    let found = server.step(batch, action, at(now));
    match &found {
        Some(found) => assert_eq!(*found, told, "{context}"),
        None => batch.slots().map(key).for_each(|key| server.put(&key, core.0.get(&key))),
    }
    core.compare(server, batch, context);
    (told, found.is_some())
}

/// Of any holders, also those that come twice or late. Holds of two lengths lie beside each other where a
/// limit has changed.
// FAULTS 166.
#[test]
fn scripts_hold_permits_and_give_them_back_as_the_core_does() {
    let (mut scripted, mut denied) = (0, 0);
    for seed in 0..40 {
        let mut random = Rng::with_seed(seed);
        let (server, mut core) = (Server::new(), Core::default());
        let of = |name: &str, seconds: u64| {
            let quota = in_flight::Quota::new(8, Duration::from_secs(seconds)).expect("in range");
            Policy::new(name, quota).expect("the name is good")
        };
        let sets = [[of("calls", 60), of("jobs", 60)], [of("calls", 7), of("jobs", 7)]];
        let (mut now, mut set, mut receipts) = (START, 0, Vec::new());
        for step in 0..300 {
            now = match random.u8(..20) {
                0 => now - (1 << random.u32(..26)),
                1..8 => now,
                _ => now + (1 << random.u32(..25)),
            };
            set = if random.u8(..40) == 0 { 1 - set } else { set };
            let actions = [
                Action::Spend,
                Action::Spend,
                Action::Spend,
                Action::Take,
                Action::Peek,
                Action::Refund,
                Action::Refund,
                Action::Extend,
            ];
            let action = actions[random.usize(..actions.len())];
            let count = random.usize(1..=2);
            let check = |policy| {
                let key = Key::new(["a", "b"][random.usize(..2)]).expect("it is short");
                let check = Check::new(policy, key, random.u64(1..=3)).expect("within the limit");
                let receipt = random.choice(&receipts).copied();
                check.with_receipt(receipt.filter(|_| action != Action::Spend && random.bool()))
            };
            let checks: Vec<_> = sets[set].iter().take(count).map(check).collect();
            let batch = Batch::new(&checks).expect("names differ");
            let context = format!("seed {seed}, step {step}: {action:?} {checks:?}");

            let (told, is_scripted) = step_both(&server, &mut core, (batch, action, now), &context);
            scripted += u32::from(is_scripted);
            denied += u32::from(!told.iter().all(|decision| decision.is_allowed()));
            if action == Action::Spend {
                let spent = checks.iter().zip(told.iter());
                receipts
                    .extend(spent.map(|(check, told)| {
                        Receipt::of(told, check.policy(), check.cost().get())
                    }));
            }
            if 16 < receipts.len() {
                receipts.swap_remove(random.usize(..receipts.len()));
            }
        }
    }
    assert!(10_000 < scripted && 1_000 < denied, "{scripted}, {denied} denied");
}

/// One to three checks, of different policies.
fn checks<'a>(random: &mut Rng, policies: &'a [Policy]) -> Vec<Check<'a>> {
    let mut policies: Vec<_> = policies.iter().collect();
    random.shuffle(&mut policies);
    let count = [1, 1, 1, 2, 3][random.usize(..5)];
    let check = |policy: &'a Policy| {
        let key = Key::new(["a", "b"][random.usize(..2)]).expect("it is short");
        let all = policy.limit();
        let all = all.min(LIMIT_MAX);
        let cost = match random.u8(..8) {
            0 => all,
            1 => random.u64(1..=all),
            _ => random.u64(1..=3).min(all),
        };
        Check::new(policy, key, cost).expect("a cost within the limit")
    };
    policies.into_iter().take(count).map(check).collect()
}

/// No multiple of anything.
const START: u64 = 1_700_000_012_345_678;

fn at(micros: u64) -> Timestamp {
    Timestamp::from_micros(micros).expect("tests stay within representable time")
}

/// The records as the core leaves them.
#[derive(Default)]
struct Core(HashMap<String, Record>);

impl Core {
    fn apply(&mut self, batch: Batch<'_>, action: Action, now: Timestamp) -> Decisions {
        let keys: Vec<_> = batch.slots().map(key).collect();
        let mut records: Vec<_> = keys.iter().map(|key| self.0.get(key).cloned()).collect();
        let decisions = apply(batch, action, &mut records, now).expect("policies stay the same");
        if action != Action::Peek {
            for (key, record) in keys.into_iter().zip(records) {
                match record {
                    Some(record) => drop(self.0.insert(key, record)),
                    None => drop(self.0.remove(&key)),
                }
            }
        }
        decisions
    }

    /// Compares byte for byte.
    #[track_caller]
    fn compare(&self, server: &Server, batch: Batch<'_>, context: &str) {
        for slot in batch.slots() {
            let (key, policy) = (key(slot), slot.policy);
            let wanted = self.0.get(&key).map(|record| Encoded::new(record).flat);
            assert_eq!(server.flat(&key, policy), wanted, "{context}: {key}");
        }
    }
}
