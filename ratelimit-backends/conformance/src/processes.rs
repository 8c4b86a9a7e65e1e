//! What only a store can promise that several processes share: together they admit the limit.

use std::{
    env,
    process::{Child, Stdio},
    time::Duration,
};

use ratelimit_backend::{Backend, ManualClock};
use ratelimit_core::{
    Policy, adaptive, fixed_window, leaky_bucket, sliding_window_counter, sliding_window_log,
    token_bucket,
};
use tokio::runtime;

use crate::{Effort, Subject, again, policies::policy};

/// Expands to a test of a store that several processes share.
///
/// Eight processes spend one key of each algorithm at once, and are admitted exactly the limit.
/// They are the test itself, run again. The first argument is a function that makes the place to
/// share: what keeps it there, and what tells the others where it is; `None` passes the test over.
/// The second one is an async function that opens the store in that place, by its usual clock. A
/// third one, which may be left out, is an [`Effort`](crate::Effort), of which it takes the checks
/// that each process makes.
///
/// ```
/// # use ratelimit_backend::{Backend, Names, Reply};
/// # use ratelimit_core::{Action, Batch};
/// # struct MyStore;
/// # impl MyStore { async fn connect(_: &str) -> Self { Self } }
/// # impl Backend for MyStore {
/// #     fn apply<'a>(&'a self, _: Batch<'a>, _: Action) -> Reply<'a> { unimplemented!() }
/// #     fn names(&self) -> &Names { unimplemented!() }
/// # }
/// # struct Server;
/// # impl Server {
/// #     fn start() -> Option<Self> { None }
/// #     fn url(&self) -> String { String::new() }
/// # }
/// ratelimit_conformance::processes!(
///     || Server::start().map(|server| { let url = server.url(); (server, url) }),
///     async |url| MyStore::connect(&url).await,
/// );
/// ```
#[macro_export]
macro_rules! processes {
    ($make:expr, $open:expr $(,)?) => {
        $crate::processes!($make, $open, $crate::Effort::new());
    };
    ($make:expr, $open:expr, $effort:expr $(,)?) => {
        // FAULTS 165, 174.
        #[test]
        fn processes_at_once_spend_limits_exactly() {
            $crate::share(::core::module_path!(), $make, $open, $effort);
        }
    };
}

/// Runs the test in the module of that path again, several times at once; or, if this is such a
/// run, spends.
///
/// # Panics
///
/// If the processes were not admitted the limit.
pub fn share<G, B: Backend + 'static>(
    module: &str,
    make: impl FnOnce() -> Option<(G, String)>,
    open: impl AsyncFnOnce(String) -> B,
    effort: Effort,
) {
    let policies = policies(PROCESSES * effort.checks_per_task * 3 / 4);
    if let Ok(place) = env::var(PLACE) {
        let runtime = runtime::Builder::new_multi_thread().enable_all().build();
        let admitted = runtime.expect("a runtime can be made").block_on(async {
            // The clock of a subject is that of tests which fake it; this one has none to fake.
            let subject = Subject::new(open(place).await, ManualClock::default(), effort);
            spend(&subject, &policies).await
        });
        println!("\n{ADMITTED}{}", admitted.join(" "));
        return;
    }
    let Some((_keeper, place)) = make() else { return };
    let processes: Vec<_> = (0..PROCESSES).map(|_| run(module, &place)).collect();
    let admitted: Vec<_> = processes.into_iter().map(report).collect();
    for (index, policy) in policies.iter().enumerate() {
        let admitted: u64 = admitted.iter().map(|admitted| admitted[index]).sum();
        assert_eq!(admitted, policy.limit(), "{policy}");
    }
}

/// How many of its checks were admitted, for each policy.
async fn spend(subject: &Subject, policies: &[Policy]) -> Vec<String> {
    let mut admitted = vec![0_u64; policies.len()];
    for _ in 0..subject.effort.checks_per_task {
        for (policy, admitted) in policies.iter().zip(&mut admitted) {
            let decision = subject.spend(policy, "key", 1).await;
            *admitted += u64::from(decision.is_allowed());
        }
    }
    admitted.iter().map(u64::to_string).collect()
}

fn run(module: &str, place: &str) -> Child {
    let mut test = again(module, TEST);
    test.env(PLACE, place).stdout(Stdio::piped()).spawn().expect("a test can be run again")
}

fn report(process: Child) -> Vec<u64> {
    let output = process.wait_with_output().expect("a process ends");
    let output = String::from_utf8_lossy(&output.stdout);
    let report = output.lines().find_map(|line| line.strip_prefix(ADMITTED));
    let counts = report.expect("a process that could spend says how much").split(' ');
    counts.map(|count| count.parse().expect("a count is a number")).collect()
}

/// One policy of each algorithm, of which nothing comes back while a test runs.
fn policies(limit: u64) -> [Policy; 6] {
    let mut adaptive = adaptive::Parameters::new(limit, AGE);
    (adaptive.burst_multiplier, adaptive.penalty) = (1.0, 0.0);
    adaptive.adaptive_window = AGE;
    let align = fixed_window::Align::First;
    [
        policy("fixed-window", fixed_window::Quota::new(limit, AGE, align)),
        policy("sliding-window-log", sliding_window_log::Quota::new(limit, AGE)),
        policy("sliding-window-counter", sliding_window_counter::Quota::new(limit, AGE)),
        policy("token-bucket", token_bucket::Quota::new(limit, limit, AGE)),
        policy("leaky-bucket", leaky_bucket::Quota::new(limit, limit, AGE)),
        policy("adaptive", adaptive::Quota::new(&adaptive)),
    ]
}

const PROCESSES: u64 = 8;
/// As long as a window may be.
const AGE: Duration = Duration::from_secs(3_650 * 86_400);
const TEST: &str = "processes_at_once_spend_limits_exactly";
const PLACE: &str = "RATELIMIT_PLACE";
const ADMITTED: &str = "admitted ";
