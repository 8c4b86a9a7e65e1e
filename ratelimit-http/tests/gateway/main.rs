//! The gateway of the example, over sockets: many streams at once, of which a tenth hang up.

#![cfg(feature = "axum")]

mod client;
mod model;

#[path = "../../examples/gateway/limits.rs"]
mod limits;
#[path = "../../examples/gateway/service.rs"]
mod service;
#[path = "../../examples/gateway/usage.rs"]
mod usage;

use std::{env, net::SocketAddr, sync::Arc, time::Instant};

use ratelimit_algorithms::{
    Algorithm, Align, Backend, ConfigError, FixedWindow, Limiter, ManualClock, Policies,
};
use ratelimit_http::RequestKey;
use ratelimit_memory::Memory;
use ratelimit_redis::RedisSettings;
use ratelimit_servers::{Server, effort};
#[cfg(unix)]
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    net::TcpListener,
    sync::{Barrier, Mutex, Semaphore, oneshot},
    task::{JoinHandle, JoinSet},
};

use crate::{
    client::{Clients, Stream, UNSHARED_EVERY, send},
    limits::{Account, Limits, Plan, PlanQuotas, Quotas},
    model::Model,
    service::{Accounts, Gateway},
};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Waves of streams. Those of one wave are all open before the first one ends.
#[derive(Clone, Copy)]
struct Load {
    waves: u64,
    keys: u64,
}

const IN_FLIGHT: u64 = 4;
/// Streams that each key opens at once, more than it may.
const ATTEMPTS: u64 = 6;
const KEYS_PER_TEAM: u64 = 5;
/// Connections that are being made; the system lets no more than some hundreds wait.
const CONNECTING_MAX: usize = 128;

/// 30,000 streams, 10,000 at once.
const FULL: Load = Load { waves: 3, keys: 2_500 };

/// Shared connections, those of denied streams, of the store and of the test program.
const OTHER_SOCKETS: u64 = 1_000;

/// Held by the load that runs, so that no two add up their sockets.
static TURN: Mutex<()> = Mutex::const_new(());

impl Load {
    const fn at_once(self) -> u64 {
        self.keys * IN_FLIGHT
    }

    const fn streams(self) -> u64 {
        self.waves * self.at_once()
    }

    /// The sockets of this process, at most: each stream has one to the model, some have two between
    /// client and gateway, and the others share theirs. The model's are those of its own process.
    const fn sockets(self) -> u64 {
        self.at_once() + self.at_once() * 2 / UNSHARED_EVERY + OTHER_SOCKETS
    }

    /// The keys, each also the number of its account.
    fn keys(self) -> std::ops::Range<u64> {
        0..self.keys
    }
}

fn account(id: u64, plan: Plan) -> (String, Account) {
    (key(id), Account { id, team: id / KEYS_PER_TEAM, plan })
}

fn key(id: u64) -> String {
    format!("key-{id}")
}

/// A running gateway.
struct Serving {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    done: JoinHandle<std::io::Result<()>>,
}

impl Serving {
    async fn start<B: Backend + Clone + 'static>(
        gateway: &Gateway,
        limits: &Arc<Limits<B>>,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let (gateway, limits) = (gateway.clone(), Arc::clone(limits));
        let done = tokio::spawn(async move {
            gateway.serve(&limits, listener, async { _ = stopped.await }).await
        });
        Ok(Self { address, stop, done })
    }

    /// Stops once its streams have ended and are settled.
    async fn stop(self) -> Outcome {
        drop(self.stop);
        Ok(self.done.await??)
    }
}

async fn remaining<B: Backend, P: Policies>(limiter: &Limiter<B, P>, key: u64) -> u64 {
    limiter.peek(&RequestKey::from(key)).await.expect("the store answers").remaining
}

/// Opens more streams of each key at once than it may have, and reads or leaves those that it got;
/// returns the number of those that were denied.
async fn run_wave<B: Backend>(
    address: SocketAddr,
    load: Load,
    model: &Model,
    in_flight: &Limiter<B>,
) -> Result<u64, Box<dyn std::error::Error>> {
    let attempts = load.keys * ATTEMPTS;
    let all_answered = Arc::new(Barrier::new(usize::try_from(attempts)? + 1));
    let connecting = Arc::new(Semaphore::new(CONNECTING_MAX));
    let clients = Clients::new(usize::try_from(attempts)?);
    let mut streams = JoinSet::new();
    for (attempt, key) in (0..).zip(load.keys().cycle()).take(usize::try_from(attempts)?) {
        let (all_answered, connecting) = (Arc::clone(&all_answered), Arc::clone(&connecting));
        let client = clients.of(attempt, key);
        streams.spawn(async move {
            let turn = connecting.acquire().await.expect("it stays open");
            let stream = Stream::open(client, address, key).await;
            drop(turn);
            all_answered.wait().await;
            match stream? {
                Stream::Denied(headers) => {
                    let mut told = headers.get_all("ratelimit").iter();
                    assert!(
                        told.any(|limit| limit.as_bytes().starts_with(NONE_IN_FLIGHT)),
                        "{headers:?}"
                    );
                    Ok(1)
                }
                Stream::Open(open) => open.finish().await.map(|()| 0),
            }
        });
    }
    all_answered.wait().await;
    let open = model.record().await?.open;
    assert_eq!(open.values().sum::<u64>(), load.at_once(), "at this instant");
    for key in load.keys() {
        assert_eq!(remaining(in_flight, key).await, 0, "{key} holds all");
    }
    model.go_on().await?;
    let mut denied = 0;
    while let Some(stream) = streams.join_next().await {
        denied += stream?.map_err(|error: String| error)?;
    }
    Ok(denied)
}

const NONE_IN_FLIGHT: &[u8] = br#""in-flight";r=0;"#;

/// Lets this process and its children open so many sockets.
#[cfg(unix)]
fn allow_sockets(sockets: u64) -> Outcome {
    let limits = getrlimit(Resource::Nofile);
    if limits.current.is_none_or(|current| sockets <= current) {
        return Ok(());
    }
    if limits.maximum.is_some_and(|maximum| maximum < sockets) {
        return Err(format!("{sockets} descriptors are needed, `ulimit -Hn`: {limits:?}").into());
    }
    Ok(setrlimit(Resource::Nofile, Rlimit { current: Some(sockets), ..limits })?)
}

/// Checks that what was charged is what was used, to the token, and that nothing is held.
async fn assert_exact<B>(store: B, quotas: Quotas, load: Load, name: &str) -> Outcome
where
    B: Backend + Clone + 'static,
{
    let _turn = TURN.lock().await;
    #[cfg(unix)]
    allow_sockets(load.sockets())?;
    let [requests, tokens, budget] =
        [&quotas.free.requests, &quotas.free.tokens, &quotas.budget].map(Algorithm::limit);
    let limits = Arc::new(Limits::new(&store, quotas)?);
    let model = Model::start_holding()?;
    let accounts = Accounts::new(load.keys().map(|id| account(id, Plan::Free)));
    let gateway = Gateway::new(accounts, model.address);

    let (start, mut denied) = (Instant::now(), 0);
    for wave in 1..=load.waves {
        let serving = Serving::start(&gateway, &limits).await?;
        denied += run_wave(serving.address, load, &model, &limits.in_flight).await?;
        serving.stop().await?;
        model.none_is_open().await?;
        for key in load.keys() {
            assert_eq!(remaining(&limits.in_flight, key).await, IN_FLIGHT, "{key} holds none");
        }
        assert_eq!(denied, wave * load.keys * (ATTEMPTS - IN_FLIGHT));
    }
    let elapsed = start.elapsed();

    let seen = model.record().await?;
    assert_eq!((seen.streams, seen.left), (load.streams(), load.streams() / 10));
    let mut of_teams = vec![0; usize::try_from(load.keys.div_ceil(KEYS_PER_TEAM))?];
    for key in load.keys() {
        let used = seen.used[&key];
        of_teams[usize::try_from(key / KEYS_PER_TEAM)?] += used;
        assert_eq!(seen.most_open[&key], IN_FLIGHT, "of {key}, at once");
        let charged = tokens - remaining(&limits.tokens, key).await;
        assert_eq!(charged, used, "tokens of {key}");
        let charged = requests - remaining(&limits.requests, key).await;
        assert_eq!(charged, load.waves * IN_FLIGHT, "requests of {key}");
    }
    for (team, used) in (0..).zip(&of_teams) {
        assert_eq!(budget - remaining(&limits.budget, team).await, *used, "tokens of team {team}");
    }
    let (streams, left, used) = (seen.streams, seen.left, of_teams.iter().sum::<u64>());
    let at_once = load.at_once();
    println!(
        "{name}: {streams} streams, {at_once} at once, {left} hung up, {denied} denied, \
         {used} tokens used and charged, 0 overspent, 0 permits held, {elapsed:.1?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_charged_what_they_used_and_hold_nothing_afterwards_in_memory() -> Outcome {
    let load = effort(FULL, Load { waves: 10, keys: 25 });
    // Time stands, so that no bucket is refilled.
    let store = Memory::with_clock(ManualClock::default(), std::num::NonZeroUsize::MAX);
    assert_exact(store, Quotas::of_plans()?, load, "memory").await
}

/// The numbers of the plans in windows of a day, which begin with the first request: a server's clock
/// goes on, and would refill buckets.
fn quotas_of_a_day() -> Result<Quotas, ConfigError> {
    let day = |limit| Algorithm::try_from(FixedWindow::per_day(limit).align(Align::First));
    Ok(Quotas {
        free: PlanQuotas { requests: day(60)?, tokens: day(100_000)? },
        pro: PlanQuotas { requests: day(600)?, tokens: day(1_000_000)? },
        budget: day(5_000_000)?,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_charged_what_they_used_and_hold_nothing_afterwards_in_redis() -> Outcome {
    let load = effort(FULL, Load { waves: 5, keys: 25 });
    let server = Server::start(&[]).ok_or("redis-server is installed")?;
    let settings = RedisSettings::new(&server.url())?;
    let store = settings.with_deadline(std::time::Duration::from_secs(60)).connect().await?;
    assert_exact(store, quotas_of_a_day()?, load, "redis").await
}

/// The value of each header of this name.
fn values<'a>(answer: &'a str, name: &str) -> Vec<&'a str> {
    let lines = answer.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(found, _)| *found == name).map(|(_, value)| value).collect()
}

#[tokio::test]
async fn a_plan_that_is_bought_holds_from_the_next_request() -> Outcome {
    let store = Memory::with_clock(ManualClock::default(), std::num::NonZeroUsize::MAX);
    let limits = Arc::new(Limits::new(&store, Quotas::of_plans()?)?);
    let model = Model::start_flowing()?;
    let gateway = Gateway::new(Accounts::new([account(0, Plan::Free)]), model.address);
    let serving = Serving::start(&gateway, &limits).await?;
    let asks = async |most: u64| {
        let body = format!(r#"{{"prompt": "three small words", "max_tokens": {most}, "user": 0}}"#);
        send(serving.address, "POST /v1/completions", &key(0), &body).await
    };

    let too_much = asks(100_000).await?;
    assert!(too_much.starts_with("HTTP/1.0 429 "), "more than a minute's tokens: {too_much}");
    let free = asks(90_000).await?;
    let told = [r#""requests";q=60;w=60;qu="requests""#, r#""tokens";q=100000;w=60;qu="tokens""#];
    assert_eq!(values(&free, "ratelimit-policy")[..2], told, "{free}");
    let in_flight = r#""in-flight";q=4;qu="concurrent-requests""#;
    let budget = r#""budget";q=5000000;w=86400;qu="tokens""#;
    assert_eq!(values(&free, "ratelimit-policy")[2..], [in_flight, budget]);

    let bought = send(serving.address, "PUT /v1/plan", &key(0), "pro").await?;
    assert!(bought.starts_with("HTTP/1.0 204 "), "{bought}");
    let pro = asks(500_000).await?;
    let told = [r#""requests";q=600;w=60;qu="requests""#, r#""tokens";q=1000000;w=60;qu="tokens""#];
    assert_eq!(values(&pro, "ratelimit-policy")[..2], told, "{pro}");
    let used = model.record().await?.used[&0];
    assert_eq!(5_000_000 - remaining(&limits.budget, 0).await, used, "of both plans");

    let unknown = send(serving.address, "POST /v1/completions", "key-of-nobody", "{}").await?;
    assert!(unknown.starts_with("HTTP/1.0 401 "), "{unknown}");
    for nonsense in ["", "{}", r#"{"prompt": 7, "max_tokens": 1}"#] {
        let refused = send(serving.address, "POST /v1/completions", &key(0), nonsense).await?;
        assert!(refused.starts_with("HTTP/1.0 400 "), "{refused}");
    }
    serving.stop().await
}

#[tokio::test]
async fn a_model_that_does_not_answer_costs_no_tokens() -> Outcome {
    let store = Memory::with_clock(ManualClock::default(), std::num::NonZeroUsize::MAX);
    let limits = Arc::new(Limits::new(&store, Quotas::of_plans()?)?);
    let nobody = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    let gateway = Gateway::new(Accounts::new([account(0, Plan::Free)]), nobody);
    let serving = Serving::start(&gateway, &limits).await?;
    let body = r#"{"prompt": "three small words", "max_tokens": 50}"#;
    let answer = send(serving.address, "POST /v1/completions", &key(0), body).await?;
    assert!(answer.starts_with("HTTP/1.0 502 "), "{answer}");
    serving.stop().await?;
    let left = [remaining(&limits.requests, 0).await, remaining(&limits.tokens, 0).await];
    assert_eq!(left, [59, 100_000]);
    assert_eq!(remaining(&limits.in_flight, 0).await, IN_FLIGHT);
    Ok(())
}

#[test]
fn events_are_counted_the_same_in_pieces_of_any_size() {
    let begun = b"data: {\"token\":\"a\"}\r\n\r\n: a comment\n\ndata:{\"token\":\"b\"}\n\ndata: nonsense\n\n";
    let ended = b"data: {\"usage\":{\"total_tokens\":41}}\n\ndata: [DONE]\n\n";
    for size in 1..=begun.len() {
        let mut meter = usage::Meter { used: 3, line: Vec::new() };
        begun.chunks(size).for_each(|piece| meter.read(piece));
        assert_eq!(meter.used, 5, "in pieces of {size}");
        ended.chunks(size).for_each(|piece| meter.read(piece));
        assert_eq!(meter.used, 41, "in pieces of {size}");
    }
}

/// In a process of its own, the model of the other tests.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_records_the_tokens_that_it_sends() -> Outcome {
    if let Ok(kind) = env::var(model::KIND) {
        return Ok(model::serve(&kind).await?);
    }
    let model = Model::start_flowing()?;
    let body = r#"{"prompt": "three small words", "max_tokens": 50, "user": 7}"#;
    let mut sent = 0;
    for _ in 0..9 {
        let stream = send(model.address, "POST /", "", body).await?;
        let mut meter = usage::Meter { used: 0, line: Vec::new() };
        meter.read(stream.as_bytes());
        sent += meter.used;
    }
    model.none_is_open().await?;
    let record = model.record().await?;
    assert_eq!((record.streams, record.left, record.used[&7]), (9, 0, sent));
    assert_eq!((record.most_open[&7], record.open[&7]), (1, 0));
    Ok(())
}
