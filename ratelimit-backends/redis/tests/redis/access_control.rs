//! A user who may do what the README says, and no more.

use std::time::Duration;

use ratelimit_backend::{Effect, ErrorKind};
use ratelimit_core::{Action, CarryOver, Policy, adaptive, sliding_window_log, token_bucket};

use ratelimit_servers::Server;

use crate::store::{ask, check, settings, spend};

// FAULTS 88, 157.
#[tokio::test]
async fn the_documented_commands_are_enough() {
    let Some(server) = Server::start(&[]) else { return };
    let readme = include_str!("../../README.md");
    let rule = readme
        .lines()
        .find_map(|line| line.strip_prefix("ACL SETUSER limits "))
        .expect("it is there");
    let rule: Vec<_> = rule.split(' ').collect();
    let made = server.cli(&[&["ACL", "SETUSER", "limits"], &rule[..]].concat());
    assert_eq!(made, "OK");

    let url = format!("redis://limits:secret@127.0.0.1:{}", server.port);
    let redis = settings(&url).connect().await.expect("it may");
    assert_eq!(redis.eviction_policy().await.as_deref(), Some("noeviction"));
    for policies in changing() {
        for policy in &policies {
            for action in [Action::Spend, Action::Peek, Action::Refund, Action::Spend] {
                let answer = ask(&redis, &[check(policy, b"key", 1)], action).await;
                let _ = answer.expect("it may");
            }
        }
        let answer = ask(&redis, &[check(&policies[1], b"key", 1)], Action::Reset).await;
        let _ = answer.expect("it may");
    }
    let denied = server.cli(&["ACL", "LOG"]);
    assert_eq!(denied, "", "nothing else was tried");

    server.cli(&["ACL", "SETUSER", "limits", "resetkeys", "~other:*"]);
    let error = spend(&redis, &changing()[0][0], b"key", 1).await.expect_err("not these keys");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Auth, Effect::NotApplied));
}

/// Each under two sets of numbers, so that states are exchanged as well.
fn changing() -> Vec<[Policy; 2]> {
    let hour = Duration::from_secs(3_600);
    let pair = |make: &dyn Fn(u64) -> Policy| [make(10), make(20)];
    let policy = |name, algorithm: ratelimit_core::Algorithm| {
        let policy = Policy::new(name, algorithm).expect("the name is good");
        policy.with_carry_over(CarryOver::Proportional)
    };
    vec![
        pair(&|limit| policy("a", token_bucket::Quota::new(limit, 1, hour).expect("fits").into())),
        pair(&|limit| {
            policy("b", sliding_window_log::Quota::new(limit, hour).expect("fits").into())
        }),
        pair(&|limit| {
            let settings = adaptive::Parameters::new(limit, hour);
            policy("c", adaptive::Quota::new(&settings).expect("fits").into())
        }),
    ]
}
