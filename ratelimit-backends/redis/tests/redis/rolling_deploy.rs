//! Two processes with other numbers on one key.

use std::{slice, time::Duration};

use ratelimit_core::{Action, Decision, Policy, fixed_window, sliding_window_log};
use ratelimit_redis::Redis;
use ratelimit_servers::{Fault, Proxy, Server, effort};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::store::{ask, check, settings};

/// Every check was read and swapped, and of those of 32 callers every fifth failed. Windows and logs
/// take over what is charged as it is, so the limits are reached exactly, by a string, a list and both.
// FAULTS 214.
#[tokio::test]
async fn two_processes_with_other_numbers_on_one_key_fail_no_check() {
    let Some(server) = Server::start(&[]) else { return };
    let asked = effort(500, 50);
    let (least, most) = (4 * asked, 8 * asked);
    let sets = [[window(least), log(least)], [window(most), log(most)]];
    for names in [&["window"][..], &["log"], &["window", "log"]] {
        server.cli(&["FLUSHALL"]);
        let mut callers = JoinSet::new();
        for set in &sets {
            let store = settings(&server.url()).connect().await.expect("the server is up");
            let policies = set.iter().filter(|policy| names.contains(&policy.name()));
            let policies: Vec<_> = policies.cloned().collect();
            for _ in 0..16 {
                let (store, policies) = (store.clone(), policies.clone());
                callers.spawn(async move { admitted(&store, &policies, asked).await });
            }
        }
        let admitted = callers.join_all().await.into_iter().sum::<u64>();
        assert_eq!(admitted, most, "{names:?}");
    }
}

/// A swap serves all that have found the other process's numbers: the callers of one process took
/// turns, or waited while the other one went on.
// FAULTS 214.
#[tokio::test]
async fn callers_that_find_other_numbers_share_a_swap() {
    let Some(server) = Server::start(&[]) else { return };
    let asked = effort(500, 50);
    let mut callers = JoinSet::new();
    for limit in [1_000_000, 2_000_000] {
        let store = settings(&server.url()).connect().await.expect("the server is up");
        for _ in 0..16 {
            let store = store.clone();
            callers.spawn(async move { admitted(&store, &[window(limit)], asked).await });
        }
    }
    assert_eq!(callers.join_all().await.into_iter().sum::<u64>(), 32 * asked);
    // Reads and swaps ask for the type of a key; scripts that decide do not.
    let swaps = server.calls("type");
    println!("{swaps} reads and swaps for {} checks", 32 * asked);
    assert!(swaps * 2 < 32 * asked, "{swaps}");
}

/// A caller that has gone before the swap was sent is not charged, and whoever shares it is.
// FAULTS 57, 214.
#[tokio::test]
async fn callers_that_leave_a_shared_swap_are_charged_once_or_never() {
    let Some(server) = Server::start(&[]) else { return };
    let proxy = Proxy::start(server.port);
    let near = settings(&server.url()).connect().await.expect("the server is up");
    let far = settings(&proxy.url()).connect().await.expect("the server is up");
    proxy.set(Fault::Delay(Duration::from_millis(1)));
    let (old, new) = (window(1_000_000), window(2_000_000));
    let (mut begun, mut answered, mut others) = (0, 0, 0);
    for round in 0..effort(400, 60) {
        others += admitted(&near, slice::from_ref(&old), 1).await;
        let mut callers = JoinSet::new();
        for caller in 0..8 {
            let (far, new) = (far.clone(), new.clone());
            let patience = Duration::from_micros(250 * ((round + 7 * caller) % 40));
            callers.spawn(async move {
                timeout(patience, admitted(&far, &[new], 1)).await.unwrap_or_default()
            });
        }
        begun += 8;
        answered += callers.join_all().await.into_iter().sum::<u64>();
    }
    sleep(Duration::from_millis(250)).await;
    let peek = ask(&near, &[check(&new, b"key", 1)], Action::Peek).await.expect("it decides")[0];
    let charged = peek.limit - peek.remaining - others;
    assert!(answered <= charged && charged <= begun, "{answered} {charged} {begun}");
    assert!(0 < answered && answered < begun, "{answered} answered of {begun}");
    println!("{begun} begun, {answered} answered, {charged} charged");
}

/// Asks so often, and counts what is admitted.
async fn admitted(store: &Redis, policies: &[Policy], asked: u64) -> u64 {
    let checks: Vec<_> = policies.iter().map(|policy| check(policy, b"key", 1)).collect();
    let mut admitted = 0;
    for _ in 0..asked {
        let decisions = ask(store, &checks, Action::Spend).await.expect("no check fails");
        admitted += u64::from(decisions.iter().all(Decision::is_allowed));
    }
    admitted
}

fn window(limit: u64) -> Policy {
    let quota = fixed_window::Quota::new(limit, DAYS, fixed_window::Align::Epoch);
    Policy::new("window", quota.expect("in range")).expect("a good name")
}

fn log(limit: u64) -> Policy {
    let quota = sliding_window_log::Quota::new(limit, DAYS).expect("in range");
    Policy::new("log", quota).expect("a good name")
}

/// No window ends meanwhile.
const DAYS: Duration = Duration::from_secs(3_650 * 86_400);
