//! Scripts that are told what no store would tell them.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Duration,
};

use fastrand::Rng;
use ratelimit_core::{
    Action, Algorithm, Batch, Check, Key, Policy, Timestamp, adaptive, fixed_window, leaky_bucket,
    sliding_window_counter, sliding_window_log, token_bucket,
};
use ratelimit_servers::{Server, effort};

use crate::eval::Step;

/// Whatever an argument is, a script either fails and has changed nothing, or leaves no key that
/// the server would keep for ever.
// FAULTS 160.
#[test]
fn a_script_with_wrong_arguments_changes_nothing_or_the_whole() {
    let Some(server) = Server::start(&[]) else { return };
    let mut wire = Wire::to(&server);
    let mut random = Rng::with_seed(7);
    let (mut failed, mut done) = (0, 0);
    for policy in policies() {
        let name = policy.algorithm().name();
        let (text, right) = spend(&policy);
        for _ in 0..effort(5_000, 300) {
            let mut wrong = right.clone();
            for _ in 0..random.u8(1..=2) {
                spoil(&mut wrong, &mut random);
            }
            let before = wire.ask(&[b"DUMP", b"key"]);
            let command =
                [&[b"EVAL".as_slice(), text.as_bytes(), b"1", b"key"], &slices(&wrong)[..]];
            let reply = wire.ask(&command.concat());
            if reply.starts_with(b"-") {
                failed += 1;
                assert_eq!(wire.ask(&[b"DUMP", b"key"]), before, "{name} {wrong:?}");
            } else {
                done += 1;
                assert_ne!(wire.ask(&[b"PTTL", b"key"]), b":-1\r\n", "{name} {wrong:?}");
            }
        }
        wire.ask(&[b"FLUSHALL"]);
    }
    println!("{failed} failed, {done} done");
    assert!(0 < failed && 0 < done);
}

/// In as decimals and as words, which is how a script is told, and out as words.
// FAULTS 162.
#[test]
fn a_million_instants_go_through_a_script_and_come_back_to_the_microsecond() {
    let Some(server) = Server::start(&[]) else { return };
    let mut wire = Wire::to(&server);
    let mut random = Rng::with_seed(162);
    let text = format!("{}\n{ECHO}", include_str!("../lua/prelude.lua"));
    for _ in 0..1_000 {
        let ends = [0, 1, (1 << 53) - 1, 1 << 52];
        let instants: Vec<u64> =
            ends.into_iter().chain((4..1_000).map(|_| random.u64(..1 << 53))).collect();
        let decimals: Vec<_> = instants.iter().map(u64::to_string).collect();
        let decimals = decimals.join(" ");
        let words: Vec<_> = instants.iter().flat_map(|at| at.to_be_bytes()[1..].to_vec()).collect();
        let echo = [&words[..], &words].concat();
        let command = [b"EVAL", text.as_bytes(), b"0", b"0", b"peek", decimals.as_bytes(), &words];
        let reply = wire.ask(&command);
        assert!(reply == [b"$14000\r\n", &echo[..], b"\r\n"].concat(), "{instants:?}");
    }
}

const ECHO: &str = "
local echo = {}
for decimal in ARGV[3]:gmatch('%d+') do echo[#echo + 1] = pack('>I7', decimal + 0) end
for at = 1, #ARGV[4], 7 do echo[#echo + 1] = pack('>I7', (unpack_words('>I7', ARGV[4], at))) end
return table.concat(echo)";

/// Lua prints fourteen digits.
// FAULTS 162.
#[test]
fn no_script_prints_a_number() {
    for (text, _) in policies().iter().map(spend) {
        let code = text.lines().map(|line| line.split("--").next().unwrap_or_default());
        for line in code {
            let prints =
                ["tostring", "format", "%.", "tonumber"].iter().any(|it| line.contains(it));
            assert!(!prints, "{line}");
        }
    }
}

/// A policy of each algorithm.
fn policies() -> [Policy; 6] {
    let hour = Duration::from_secs(3_600);
    let align = fixed_window::Align::Epoch;
    let adaptive = adaptive::Quota::new(&adaptive::Parameters::new(10, hour));
    let algorithms: [Algorithm; 6] = [
        fixed_window::Quota::new(10, hour, align).expect("in range").into(),
        sliding_window_log::Quota::new(10, hour).expect("in range").into(),
        sliding_window_counter::Quota::new(10, hour).expect("in range").into(),
        token_bucket::Quota::new(10, 10, hour).expect("in range").into(),
        leaky_bucket::Quota::new(10, 10, hour).expect("in range").into(),
        adaptive.expect("in range").into(),
    ];
    algorithms.map(|algorithm| Policy::new("policy", algorithm).expect("the name is good"))
}

/// The script and the arguments that spend one permit.
fn spend(policy: &Policy) -> (String, Vec<Vec<u8>>) {
    let check = Check::new(policy, Key::new(b"key").expect("it is short"), 1);
    let check = check.expect("a cost within the limit");
    let step =
        Step::new(Batch::one(&check), Action::Spend, Timestamp::EPOCH).expect("a script knows it");
    let text = String::from_utf8(step.script.text.to_vec()).expect("scripts are text");
    let words = step.words.iter().map(|word| word.to_vec());
    (text, [b"".to_vec(), step.word.into()].into_iter().chain(words).collect())
}

/// Takes something away, puts something else there, or turns it over.
fn spoil(arguments: &mut Vec<Vec<u8>>, random: &mut Rng) {
    let argument = random.usize(..arguments.len());
    match random.u8(..6) {
        0 => drop(arguments.remove(argument)),
        1 => arguments[argument].clear(),
        2 => drop(arguments[argument].pop()),
        3 => arguments[argument] = b"1e400".to_vec(),
        4 => arguments[argument].push(b'x'),
        _ => {
            if let Some(byte) = arguments[argument].last_mut() {
                *byte ^= 1 << random.u8(..8);
            }
        }
    }
}

fn slices(arguments: &[Vec<u8>]) -> Vec<&[u8]> {
    arguments.iter().map(Vec::as_slice).collect()
}

/// A connection that says exactly what it is told.
struct Wire(BufReader<TcpStream>);

impl Wire {
    fn to(server: &Server) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", server.port)).expect("the server is up");
        Self(BufReader::new(stream))
    }

    /// The reply's first line, and the bytes that it announces.
    fn ask(&mut self, words: &[&[u8]]) -> Vec<u8> {
        let mut command = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            command.extend(format!("${}\r\n", word.len()).into_bytes());
            command.extend([word, &b"\r\n"[..]].concat());
        }
        self.0.get_mut().write_all(&command).expect("the server listens");
        let mut reply = Vec::new();
        self.0.read_until(b'\n', &mut reply).expect("the server answers");
        if let Some(length) = reply.strip_prefix(b"$").filter(|length| !length.starts_with(b"-")) {
            let length = String::from_utf8_lossy(length).trim().parse::<usize>();
            let mut bytes = vec![0; length.expect("a number") + 2];
            self.0.read_exact(&mut bytes).expect("the server goes on");
            reply.extend(bytes);
        }
        reply
    }
}
