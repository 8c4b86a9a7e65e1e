//! The guide's chapter about choosing a limit: its commands print what it says that they print, and
//! the file at its end does in a service what it did in the simulation.

use std::{convert::Infallible, fs, num::NonZeroUsize};

use http::{Request, Response};
use ratelimit_algorithms::{Limiter, LimitsFile, ManualClock, Micros};
use ratelimit_http::{Peer, PeerAddr, RateLimitLayer};
use ratelimit_memory::Memory;
use tower::{ServiceBuilder, ServiceExt, service_fn};

use crate::{
    command::{run, text},
    generated_log,
};

const CHAPTER: &str =
    include_str!("../../../../ratelimit-algorithms/src/guide/choosing_a_limit.md");

/// The blocks of a language.
fn blocks(language: &str) -> Vec<&'static str> {
    let begin = format!("```{language}\n");
    CHAPTER.split(&*begin).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[tokio::test]
async fn the_commands_of_the_chapter_print_what_it_says_and_end_with_a_file_for_the_layer() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("access.log"), generated_log::log()).unwrap();
    let (commands, outputs) = (blocks("sh"), blocks("text"));
    assert_eq!((commands.len(), outputs.len()), (3, 3));
    for (command, expected) in commands.iter().zip(outputs) {
        let arguments = command.trim().strip_prefix("ratelimit-simulate ").unwrap();
        let arguments: Vec<_> = arguments.split_whitespace().collect();
        let output = run(folder.path(), &arguments, b"");
        assert_eq!(text(&output.stderr), "");
        let printed = text(&output.stdout);
        assert!(printed.contains(expected), "{command}prints\n{printed}and not\n{expected}");
    }
    let written = fs::read_to_string(folder.path().join("limits.toml")).unwrap();
    assert_eq!(blocks("toml"), [&*written]);

    let clock = ManualClock::default();
    let limits = LimitsFile::open(folder.path().join("limits.toml")).unwrap();
    let store = Memory::with_clock(clock.clone(), NonZeroUsize::MAX);
    let limiter = Limiter::with_policies(store, limits.live("api").unwrap()).unwrap();
    let inner = service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(http_body_util::Empty::<bytes::Bytes>::new()))
    });
    let service =
        ServiceBuilder::new().layer(RateLimitLayer::new(limiter, PeerAddr)).service(inner);
    let mut denied = 0;
    // The retry storm: 20 requests a second for two minutes.
    for _ in 0..2_400 {
        let peer = Peer("192.0.2.0:4711".parse().unwrap());
        let request = Request::get("/pay").extension(peer).body(()).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        denied += u32::from(response.status() == 429);
        clock.advance(Micros::from_millis(50));
    }
    assert!((2_000..2_400).contains(&denied), "{denied}");
}
