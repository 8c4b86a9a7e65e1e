//! Many at once: tasks on several connections spend one limit exactly.

use std::{num::NonZeroUsize, time::Duration};

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
    let redis = settings(&server.url()).with_pool_size(pool).connect().await.expect("it is up");
    for policy in policies() {
        let mut tasks = JoinSet::new();
        for _ in 0..64 {
            tasks.spawn(admitted(redis.clone(), policy.clone(), 20));
        }
        let admitted: u64 = tasks.join_all().await.into_iter().sum();
        assert_eq!(admitted, LIMIT, "{policy}");
    }
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
