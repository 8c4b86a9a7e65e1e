//! Many at once: tasks on several connections, and processes, spend one limit exactly.

use std::{num::NonZeroUsize, process::Command, time::Duration};

use ratelimit_core::{Policy, sliding_window_log, token_bucket};
use ratelimit_redis::Redis;
use tokio::task::JoinSet;

use ratelimit_servers::Server;

use crate::store::{settings, spend};

const DAY: Duration = Duration::from_secs(86_400);
const LIMIT: u64 = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_at_once_spend_a_limit_exactly() {
    let Some(server) = Server::start(&[]) else { return };
    let pool = NonZeroUsize::new(4).expect("four is not zero");
    let redis = settings(&server.url()).pool_size(pool).connect().await.expect("it is up");
    for policy in policies() {
        let mut tasks = JoinSet::new();
        for _ in 0..64 {
            tasks.spawn(admitted(redis.clone(), policy.clone(), 20));
        }
        let admitted: u64 = tasks.join_all().await.into_iter().sum();
        assert_eq!(admitted, LIMIT, "{policy}");
    }
}

/// Runs this very test in processes of its own, which tell how much they were admitted by their
/// output.
// FAULTS 165.
#[tokio::test]
async fn processes_at_once_spend_a_limit_exactly() {
    if let Ok(url) = std::env::var(URL) {
        let redis = settings(&url).connect().await.expect("the server is up");
        let [bucket, _] = policies();
        println!("\n{ADMITTED}{}", admitted(redis, bucket, 200).await);
        return;
    }
    let Some(server) = Server::start(&[]) else { return };
    let this = std::env::current_exe().expect("a test is a program");
    let name = "many::processes_at_once_spend_a_limit_exactly";
    let run = |_| {
        let mut command = Command::new(&this);
        command.args(["--exact", name, "--nocapture"]).env(URL, server.url());
        command.stdout(std::process::Stdio::piped()).spawn().expect("it runs once more")
    };
    let processes: Vec<_> = (0..8).map(run).collect();
    let mut admitted = 0;
    for process in processes {
        let output = process.wait_with_output().expect("it ends");
        let output = String::from_utf8_lossy(&output.stdout);
        let line = output.lines().find_map(|line| line.strip_prefix(ADMITTED));
        admitted += line.and_then(|line| line.parse::<u64>().ok()).expect("it says how much");
    }
    assert_eq!(admitted, LIMIT);
}

async fn admitted(redis: Redis, policy: Policy, checks: u64) -> u64 {
    let mut admitted = 0;
    for _ in 0..checks {
        let decision = spend(&redis, &policy, b"key", 1).await.expect("the server decides");
        admitted += u64::from(decision.is_allowed());
    }
    admitted
}

/// Nothing comes back while the test runs.
fn policies() -> [Policy; 2] {
    let bucket = token_bucket::Quota::new(LIMIT, LIMIT, 3_650 * DAY).expect("in range");
    let log = sliding_window_log::Quota::new(LIMIT, DAY).expect("in range");
    [Policy::new("bucket", bucket), Policy::new("log", log)].map(|it| it.expect("a good name"))
}

const URL: &str = "RATELIMIT_TEST_URL";
const ADMITTED: &str = "admitted ";
