//! Decisions equal those of a live service that gets the same requests on a fake clock.

use std::{convert::Infallible, net::IpAddr, num::NonZeroUsize};

use http::{Request, Response};
use proptest::prelude::*;
use ratelimit_algorithms::{Limiter, LimitsFile, ManualClock};
use ratelimit_http::{ClientIp, Peer, RateLimitLayer};
use ratelimit_memory::Memory;
use ratelimit_simulate::{Candidates, LogReader, LogSettings, Micros, Simulation, Timestamp};
use tower::{ServiceBuilder, ServiceExt, service_fn};

/// A limit of each algorithm, with sensors of both scopes, tight enough to deny.
const LIMITS: &str = r#"
adaptive = { algorithm = "adaptive", limit = 3, window = "1s" }
counter = { algorithm = "sliding_window_counter", limit = 4, window = "2s" }
fixed = { algorithm = "fixed_window", limit = 3, window = "1s", align = "first" }
leaky = { algorithm = "leaky_bucket", limit = 3, window = "1s", capacity = 5 }
log = { algorithm = "sliding_window_log", limit = 4, window = "2s" }
queue = { algorithm = "leaky_bucket", limit = 3, window = "1s", queue = "500ms" }
shared = { algorithm = "adaptive", limit = 3, window = "1s", scope = "shared" }
slow = { limit = 2, window = "3s", burst = 7, initial = 1 }
token = "3/1s"
"#;

/// A request: after so long, of this client, at this cost.
type Step = (i64, u8, u64);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let length = prop_oneof![4 => 0..700_000_i64, 1 => -400_000..0_i64, 1 => 0..20_000_000_i64];
    prop::collection::vec((length, 0..4_u8, prop_oneof![6 => Just(1_u64), 1 => 1..6_u64]), 1..120)
}

/// The instants of steps: times since the step before, which may be negative.
fn instants(steps: &[Step]) -> Vec<u64> {
    let mut at = START;
    let instant = |(length, _, _): &Step| {
        at = at.saturating_add_signed(*length);
        at
    };
    steps.iter().map(instant).collect()
}

const START: u64 = 1_760_104_536_000_000;

fn timestamp(micros: u64) -> Timestamp {
    Timestamp::from_micros(micros).unwrap()
}

proptest! {
    /// Whatever the algorithm, the times and the costs: every part of every decision.
    // FAULTS 238.
    #[test]
    fn decisions_are_those_of_a_limiter_in_memory(steps in steps()) {
        let candidates: Candidates = LIMITS.parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("limits.toml");
        std::fs::write(&path, LIMITS).unwrap();
        let limits = LimitsFile::open(&path).unwrap();
        let clock = ManualClock::new(timestamp(START)).with_retention(Micros::MAX);
        let limiters: Vec<_> = candidates
            .names()
            .map(|name| {
                let store = Memory::with_clock(clock.clone(), NonZeroUsize::MAX);
                Limiter::with_policies(store, limits.live(name).unwrap()).unwrap()
            })
            .collect();
        let mut simulation = Simulation::new(candidates);
        for ((_, client, cost), at) in steps.iter().zip(instants(&steps)) {
            clock.set(timestamp(at));
            let simulated = simulation.request(&[*client], timestamp(at), *cost);
            for (limiter, simulated) in limiters.iter().zip(simulated) {
                let live = limiter.check(&[*client][..]).cost(*cost).now().ok();
                prop_assert_eq!(simulated.ok(), live, "{}", limiter.name());
            }
        }
    }

    /// From the text of a log, behind a proxy, to what the layer answers.
    #[test]
    fn a_log_is_decided_as_the_layer_answers(steps in steps()) {
        let ordered: Vec<Step> = steps.iter().map(|step| (step.0.abs(), step.1, 1)).collect();
        let client_ip = || {
            let builder = ClientIp::builder().x_forwarded_for();
            builder.trusted_proxies(["10.0.0.0/8"]).build().unwrap()
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let answers = runtime.block_on(layer(&ordered, client_ip()));

        let mut settings = LogSettings::default();
        settings.client_ip = client_ip();
        settings.forwarded = Some(("x-forwarded-for".to_owned(), "forwarded".to_owned()));
        let mut simulation = Simulation::new("api = '3/1s'".parse().unwrap());
        let mut reader = LogReader::new(settings).unwrap();
        reader.read(log(&ordered).as_bytes(), &mut simulation).unwrap();
        reader.finish(&mut simulation);
        let report = simulation.report();
        let api = &report.candidates[0];

        let denied = |client: usize| answers.iter().filter(move |it| it.0 == client && it.1.is_some());
        prop_assert_eq!(api.denied, answers.iter().filter(|it| it.1.is_some()).count() as u64);
        for affected in &api.most_affected {
            // Both addresses of one network are one client, known by the first that came.
            let address: IpAddr = affected.client.parse().unwrap();
            let client = ADDRESSES.iter().position(|it| *it == address.to_string()).unwrap();
            let client = CLIENTS[client];
            prop_assert_eq!(affected.denied, denied(client).count() as u64);
            let longest = denied(client).filter_map(|it| it.1).max().unwrap_or(0);
            prop_assert_eq!(affected.longest_denial.as_secs_ceil().max(1), longest);
        }
    }
}

/// Addresses, and whose they are.
const ADDRESSES: [&str; 4] = ["203.0.113.9", "2001:db8::1", "2001:db8::2", "198.51.100.7"];
const CLIENTS: [usize; 4] = [0, 1, 1, 2];

/// The client of each request, and the seconds to wait that a denied one is told.
async fn layer(steps: &[Step], client_ip: ClientIp) -> Vec<(usize, Option<u64>)> {
    let clock = ManualClock::new(timestamp(START));
    let store = Memory::with_clock(clock.clone(), NonZeroUsize::MAX);
    let token = "3/1s".parse::<ratelimit_algorithms::TokenBucket>().unwrap();
    let limiter = Limiter::new(store, "api", token).unwrap();
    let inner = service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(http_body_util::Empty::<bytes::Bytes>::new()))
    });
    let service =
        ServiceBuilder::new().layer(RateLimitLayer::new(limiter, client_ip)).service(inner);
    let mut answers = Vec::new();
    for ((_, client, _), at) in steps.iter().zip(instants(steps)) {
        clock.set(timestamp(at));
        let request = Request::get("/")
            .extension(Peer("10.0.0.1:4711".parse().unwrap()))
            .header("x-forwarded-for", ADDRESSES[usize::from(*client)])
            .body(())
            .unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        let wait = response.headers().get("retry-after");
        let wait = wait.map(|wait| wait.to_str().unwrap().parse().unwrap());
        answers.push((CLIENTS[usize::from(*client)], wait));
    }
    answers
}

/// The same requests as nginx would log them.
fn log(steps: &[Step]) -> String {
    let line = |((_, client, _), at): (&Step, u64)| {
        let forwarded = ADDRESSES[usize::from(*client)];
        format!(
            "{{\"msec\":\"{}.{:06}\",\"remote_addr\":\"10.0.0.1\",\"http_x_forwarded_for\":\"{forwarded}\"}}\n",
            at / 1_000_000,
            at % 1_000_000
        )
    };
    steps.iter().zip(instants(steps)).map(line).collect()
}
