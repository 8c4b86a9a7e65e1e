//! The promise of a store that several processes share: together they admit the limit.

use std::{
    env,
    process::{Child, Command, Stdio},
    time::Duration,
};

use ratelimit_backend::{Backend, ManualClock};
use ratelimit_core::{
    Policy, adaptive, fixed_window, leaky_bucket, sliding_window_counter, sliding_window_log,
    token_bucket,
};
use tokio::runtime;

use crate::{Effort, StoreUnderTest, policies::policy};

/// Expands to a test of a store that several processes share.
///
/// Eight processes spend one key of each algorithm at once, and are admitted exactly the limit.
/// They are the test itself, run again. The first argument is a function that starts what they
/// share, and returns a guard for it and its address; `None` skips the test. The second argument is
/// an async function that opens the store at that address, with its usual clock. The third one, which
/// may be left out, is an [`Effort`](crate::Effort): it sets the checks that each process makes.
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
            $crate::run_processes(::core::module_path!(), $make, $open, $effort);
        }
    };
}

/// Runs the test in `module` again, in several processes at once; in one of these, spends.
///
/// # Panics
///
/// If the processes were not admitted the limit.
pub fn run_processes<G, B: Backend + 'static>(
    module: &str,
    start: impl FnOnce() -> Option<(G, String)>,
    open: impl AsyncFnOnce(String) -> B,
    effort: Effort,
) {
    let policies = policies(PROCESSES * effort.checks_per_task * 3 / 4);
    if let Ok(address) = env::var(ADDRESS) {
        let runtime = runtime::Builder::new_multi_thread().enable_all().build();
        let admitted = runtime.expect("a runtime can be made").block_on(async {
            // Only tests that fake time look at this clock.
            let store = StoreUnderTest::new(open(address).await, ManualClock::default(), effort);
            spend(&store, &policies).await
        });
        println!("\n{ADMITTED}{}", admitted.join(" "));
        return;
    }
    let Some((_guard, address)) = start() else { return };
    let processes: Vec<_> = (0..PROCESSES).map(|_| spawn(module, &address)).collect();
    let admitted: Vec<_> = processes.into_iter().map(report).collect();
    for (index, policy) in policies.iter().enumerate() {
        let admitted: u64 = admitted.iter().map(|admitted| admitted[index]).sum();
        assert_eq!(admitted, policy.limit(), "{policy}");
    }
}

/// Returns a command that runs one test of this test program in a process of its own.
///
/// `module` is the [`module_path!`] of the test, and `test` its name. Its output is passed on. The
/// environment may tell the test that it runs in a subprocess, and what to do there.
///
/// ```
/// # let _ =
/// ratelimit_conformance::subprocess(module_path!(), "what_is_printed").env("IS_CHILD", "")
/// # ;
/// ```
///
/// # Panics
///
/// If the system does not know where this program is.
#[must_use]
pub fn subprocess(module: &str, test: &str) -> Command {
    // The harness leaves the name of the crate out.
    let path = match module.split_once("::") {
        None => test.to_owned(),
        Some((_, module)) => format!("{module}::{test}"),
    };
    let mut command = Command::new(env::current_exe().expect("a test is a program"));
    command.args(["--exact", &path, "--nocapture", "--quiet"]);
    command
}

/// Spends on each policy; returns the number of checks that were admitted, for each.
async fn spend(store: &StoreUnderTest, policies: &[Policy]) -> Vec<String> {
    let mut admitted = vec![0_u64; policies.len()];
    for _ in 0..store.effort.checks_per_task {
        for (policy, admitted) in policies.iter().zip(&mut admitted) {
            let decision = store.spend(policy, "key", 1).await;
            *admitted += u64::from(decision.is_allowed());
        }
    }
    admitted.iter().map(u64::to_string).collect()
}

fn spawn(module: &str, address: &str) -> Child {
    let mut test = subprocess(module, TEST);
    test.env(ADDRESS, address).stdout(Stdio::piped()).spawn().expect("a test can be run again")
}

fn report(process: Child) -> Vec<u64> {
    let output = process.wait_with_output().expect("a process ends");
    let output = String::from_utf8_lossy(&output.stdout);
    let report = output.lines().find_map(|line| line.strip_prefix(ADMITTED));
    let counts = report.expect("a process that could spend says how much").split(' ');
    counts.map(|count| count.parse().expect("a count is a number")).collect()
}

/// One policy of each algorithm; no permit comes back while a test runs.
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
/// The longest window.
const AGE: Duration = Duration::from_secs(3_650 * 86_400);
const TEST: &str = "processes_at_once_spend_limits_exactly";
const ADDRESS: &str = "RATELIMIT_ADDRESS";
const ADMITTED: &str = "admitted ";
