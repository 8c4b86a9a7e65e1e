//! Several processes that lease from one Redis server, with kills and partitions: all of them together admit no
//! more than the theorem says.
//!
//! The processes are this test, run again, each behind a proxy of its own. A request is known to have looked at its
//! clock between an instant before it and one after it, so an interval has at least the requests that lie in it
//! as a whole. That is compared with the bound, for all intervals of whole slots of time.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::HashMap,
    env,
    io::{BufRead, BufReader, Write, stdout},
    process::{Child, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use ratelimit_algorithms::{Limiter, TokenBucket};
use ratelimit_conformance::subprocess;
use ratelimit_core::{Algorithm, LeaseTerms, Micros, Policy, Source};
use ratelimit_lease::{LeaseLength, Leased};
use ratelimit_redis::RedisSettings;
use ratelimit_servers::{Fault, Proxy, Server, effort};

/// Counts by the slots of the instants before and after, of requests that were admitted.
type Counts = HashMap<(u64, u64), u64>;

const PROCESSES: usize = 4;
const TASKS: usize = 16;
/// 20 000 a second and as many at once: of leases of 50 ms, a thousand permits.
const LIMIT: u64 = 20_000;
const LENGTH: Duration = Duration::from_millis(50);
/// In microseconds.
const SLOT: u64 = 5_000;

// FAULTS 236.
#[test]
fn processes_that_are_killed_and_cut_off_admit_no_more_than_the_bound() {
    if let Ok(url) = env::var(URL) {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
        return runtime.block_on(spend(&url));
    }
    let requests_min = effort(10_000_000, 100_000);
    let Some(server) = Server::start(&[]) else { return };
    let proxies: Vec<_> = (0..PROCESSES).map(|_| Proxy::start(server.port)).collect();
    let report = Arc::new(Report::default());
    let mut processes: Vec<_> =
        proxies.iter().map(|proxy| Process::start(proxy, &report)).collect();
    fastrand::seed(7);
    let began = Instant::now();
    let mut faults = 0;
    while report.requests.load(Ordering::Relaxed) < requests_min || faults < FAULTS_MIN {
        assert!(began.elapsed() < effort(HOUR, HOUR / 60), "{report:?}");
        let unlucky = fastrand::usize(0..PROCESSES);
        let fault = *fastrand::choice(&FAULTS).unwrap();
        match fault {
            Fault::None => processes[unlucky] = Process::start(&proxies[unlucky], &report),
            fault => proxies[unlucky].set(fault),
        }
        thread::sleep(Duration::from_millis(fastrand::u64(20..200)));
        proxies[unlucky].set(Fault::None);
        if fault != Fault::None {
            proxies[unlucky].cut();
        }
        thread::sleep(Duration::from_millis(fastrand::u64(20..100)));
        faults += 1;
    }
    drop(processes);
    let excess = excess(&report.counts.lock().unwrap());
    let holders = (PROCESSES + faults) as u64;
    let terms = LeaseTerms::new(&policy(), Micros::from_duration_floor(LENGTH)).unwrap();
    let bound = i64::try_from(terms.excess_max(holders)).unwrap();
    println!("{report:?}, {faults} faults, {excess} above the limit, the bound is {bound}");
    assert!(excess <= bound, "{excess} above the limit, the bound is {bound}");
    // At the edge of the limit, the store decides one by one.
    let leased = report.leased.load(Ordering::Relaxed);
    assert!(report.direct.load(Ordering::Relaxed) < 9 * leased, "{report:?}");
}

/// A process is killed where nothing is the fault.
const FAULTS: [Fault; 6] = [
    Fault::None,
    Fault::None,
    Fault::BlackHole,
    Fault::SwallowReplies,
    Fault::ResetAfter,
    Fault::Delay(Duration::from_millis(20)),
];

const FAULTS_MIN: usize = 12;
const HOUR: Duration = Duration::from_secs(3_600);
const URL: &str = "RATELIMIT_LEASE_URL";

fn policy() -> Policy {
    let bucket = TokenBucket::per_second(LIMIT);
    Policy::new("leased", Algorithm::try_from(bucket).unwrap()).unwrap()
}

/// The reports of the processes.
#[derive(Default)]
struct Report {
    requests: AtomicU64,
    leased: AtomicU64,
    direct: AtomicU64,
    counts: Mutex<Counts>,
}

impl std::fmt::Debug for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [requests, leased, direct] = [&self.requests, &self.leased, &self.direct];
        let [requests, leased, direct] =
            [requests, leased, direct].map(|count| count.load(Ordering::Relaxed));
        write!(f, "{requests} requests, {leased} from leases, {direct} by the store")
    }
}

/// A process, killed when it is dropped, and the thread that reads what it tells.
struct Process {
    child: Child,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    fn start(proxy: &Proxy, report: &Arc<Report>) -> Self {
        let test = "processes_that_are_killed_and_cut_off_admit_no_more_than_the_bound";
        let mut command = subprocess(module_path!(), test);
        command.env(URL, proxy.url()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a test can be run again");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let report = Arc::clone(report);
        let reader =
            thread::spawn(move || lines.map_while(Result::ok).for_each(|line| report.add(&line)));
        Self { child, reader: Some(reader) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = self.reader.take().map(JoinHandle::join);
    }
}

impl Report {
    /// Adds a line, unless the process was killed as it wrote it.
    fn add(&self, line: &str) {
        let Some(line) = line.strip_prefix(LINE).and_then(|line| line.strip_suffix('.')) else {
            return;
        };
        let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
        let ([requests, leased, direct], counts) = numbers.split_first_chunk().unwrap();
        self.requests.fetch_add(*requests, Ordering::Relaxed);
        self.leased.fetch_add(*leased, Ordering::Relaxed);
        self.direct.fetch_add(*direct, Ordering::Relaxed);
        let mut known = self.counts.lock().unwrap();
        for [before, after, count] in counts.as_chunks().0 {
            *known.entry((*before, *after)).or_default() += count;
        }
    }
}

const LINE: &str = "counted ";

/// The counts of a task that it has not yet reported.
#[derive(Default)]
struct Told {
    requests: u64,
    leased: u64,
    direct: u64,
    counts: Counts,
}

/// Spends until the process is killed: now a little, now as fast as it can.
async fn spend(url: &str) {
    let settings = RedisSettings::new(url).unwrap().with_deadline(Duration::from_millis(100));
    let store = Leased::new(settings.connect_lazily(), LeaseLength::time(LENGTH));
    let limiter = Limiter::with_policies(store, policy()).unwrap();
    let tasks: Vec<_> = (0..TASKS).map(|_| tokio::spawn(spend_in_turns(limiter.clone()))).collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn spend_in_turns(limiter: Limiter<Leased<ratelimit_redis::Redis>>) {
    let mut told = Told::default();
    for number in 1_u64.. {
        let before = now();
        let decision = limiter.check("key").await;
        let slots = [before, now()].map(|at| at / SLOT);
        told.requests += 1;
        if let Ok(decision) = decision
            && decision.is_allowed()
        {
            let is_leased = decision.source() == Source::Lease;
            *if is_leased { &mut told.leased } else { &mut told.direct } += 1;
            *told.counts.entry((slots[0], slots[1])).or_default() += 1;
        }
        let is_quiet = (now() / 200_000).is_multiple_of(2);
        if is_quiet {
            tokio::time::sleep(Duration::from_millis(1)).await;
        } else if number.is_multiple_of(8) {
            tokio::task::yield_now().await;
        }
        if number.is_multiple_of(if is_quiet { 16 } else { 512 }) {
            std::mem::take(&mut told).tell();
        }
    }
}

impl Told {
    /// Writes one line, at once.
    fn tell(self) {
        let Self { requests, leased, direct, counts } = self;
        let mut line = format!("{LINE}{requests} {leased} {direct}");
        for ((before, after), count) in counts {
            line.push_str(&format!(" {before} {after} {count}"));
        }
        line.push_str(".\n");
        stdout().lock().write_all(line.as_bytes()).unwrap();
    }
}

/// The wall clock, which the server goes by as well.
fn now() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since_epoch.as_micros()).unwrap()
}

/// The most requests that lie in an interval of whole slots, above what the limit lets through in it.
fn excess(counts: &Counts) -> i64 {
    let first = counts.keys().map(|(before, _)| *before).min().unwrap_or(0);
    let last = counts.keys().map(|(_, after)| *after).max().unwrap_or(0);
    // By the slot of the instant before, those that ended in each slot.
    let mut by_start: HashMap<u64, Vec<(u64, i64)>> = HashMap::new();
    for (&(before, after), &count) in counts {
        by_start.entry(before).or_default().push((after, i64::try_from(count).unwrap()));
    }
    let slots = usize::try_from(last - first + 1).unwrap();
    let (mut ended, mut most) = (vec![0_i64; slots], i64::MIN);
    let per_slot = i64::try_from(LIMIT * SLOT / 1_000_000).unwrap();
    for start in (first..=last).rev() {
        for (after, count) in by_start.remove(&start).unwrap_or_default() {
            ended[usize::try_from(after - first).unwrap()] += count;
        }
        let (mut inside, mut allowed) = (0, i64::try_from(LIMIT).unwrap());
        for count in &ended[usize::try_from(start - first).unwrap()..] {
            (inside, allowed) = (inside + count, allowed + per_slot);
            most = most.max(inside - allowed);
        }
    }
    most
}
