//! Scripts that are told what no store would tell them.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
};

use fastrand::Rng;
use ratelimit_conformance::one_of_each;
use ratelimit_core::Policy;
use ratelimit_servers::{Server, effort};

use crate::store::{connect, spend};

/// Whatever an argument is, a script either fails and has changed nothing, or leaves no key that
/// the server would keep for ever.
// FAULTS 160.
#[tokio::test]
async fn a_script_with_wrong_arguments_changes_nothing_or_the_whole() {
    let Some(server) = Server::start(&[]) else { return };
    let mut wire = Wire::to(&server);
    let mut random = Rng::with_seed(7);
    let (mut failed, mut done) = (0, 0);
    for policy in one_of_each(10) {
        let name = policy.algorithm().name();
        let Sent { text, keys, arguments } = command(&server, &policy).await;
        let each = |wire: &mut Wire, word: &[u8]| -> Vec<_> {
            keys.iter().map(|key| wire.ask(&[word, key])).collect()
        };
        for _ in 0..effort(5_000, 300) {
            let mut wrong = arguments.clone();
            for _ in 0..random.u8(1..=2) {
                spoil(&mut wrong, &mut random);
            }
            let before = each(&mut wire, b"DUMP");
            let count = keys.len().to_string();
            let head = [b"EVAL", text.as_slice(), count.as_bytes()];
            let reply = wire.ask(&[&head[..], &slices(&keys), &slices(&wrong)].concat());
            if reply.starts_with(b"-") {
                failed += 1;
                assert_eq!(each(&mut wire, b"DUMP"), before, "{name} {wrong:?}");
            } else {
                done += 1;
                let lives = each(&mut wire, b"PTTL");
                assert!(lives.iter().all(|life| life != b":-1\r\n"), "{name} {wrong:?}");
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
    let text = format!("{}\n{ECHO}", include_str!("../../src/lua/prelude.lua"));
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
    for file in fs::read_dir("src/lua").expect("there are scripts") {
        let text = fs::read_to_string(file.expect("it is there").path()).expect("it is text");
        for line in text.lines().filter_map(|line| line.split("--").next()) {
            let prints = ["tostring", "format", "%."];
            assert!(!prints.iter().any(|it| line.contains(it)), "{line}");
        }
    }
}

/// A script, and what it is told.
#[derive(Default)]
struct Sent {
    text: Vec<u8>,
    keys: Vec<Vec<u8>>,
    arguments: Vec<Vec<u8>>,
}

/// The script by which a store spends one permit.
async fn command(server: &Server, policy: &Policy) -> Sent {
    server.cli(&["SCRIPT", "FLUSH"]);
    let mut monitor = Wire::to(server);
    monitor.ask(&[b"MONITOR"]);
    let redis = connect(server).await;
    for _ in 0..2 {
        let _ = spend(&redis, policy, b"key", 1).await.expect("it decides");
    }
    server.cli(&["FLUSHALL"]);
    server.cli(&["DEL", "the end"]);
    let mut sent = Sent::default();
    loop {
        let words = quoted(&monitor.line());
        let [name, script, rest @ ..] = &words[..] else { continue };
        match &name.to_ascii_uppercase()[..] {
            b"DEL" => return sent,
            b"EVAL" => sent.text.clone_from(script),
            b"EVALSHA" => {
                let [[count @ b'1'..=b'9']] = [&rest[0][..]] else { panic!("{words:?}") };
                let (keys, arguments) = rest[1..].split_at((count - b'0').into());
                (sent.keys, sent.arguments) = (keys.to_vec(), arguments.to_vec());
            }
            _ => {}
        }
    }
}

/// The words of a line of `MONITOR`, each in quotation marks.
fn quoted(line: &[u8]) -> Vec<Vec<u8>> {
    let (mut words, mut word) = (Vec::new(), None::<Vec<u8>>);
    let mut bytes = line.iter().copied();
    while let Some(byte) = bytes.next() {
        match (&mut word, byte) {
            (None, b'"') => word = Some(Vec::new()),
            (None, _) => {}
            (Some(_), b'"') => words.extend(word.take()),
            (Some(word), b'\\') => word.push(match bytes.next() {
                Some(b'x') => {
                    let digits = [bytes.next(), bytes.next()].map(|digit| digit.unwrap_or(b'?'));
                    let digits = str::from_utf8(&digits).expect("digits are text");
                    u8::from_str_radix(digits, 16).expect("they are hexadecimal")
                }
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'a') => 7,
                Some(b'b') => 8,
                escaped => escaped.expect("the line goes on"),
            }),
            (Some(word), _) => word.push(byte),
        }
    }
    words
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

    /// The next line that the server sends.
    fn line(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line).expect("the server goes on");
        line
    }

    /// The reply, whole.
    fn ask(&mut self, words: &[&[u8]]) -> Vec<u8> {
        let mut command = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            command.extend(format!("${}\r\n", word.len()).into_bytes());
            command.extend([word, &b"\r\n"[..]].concat());
        }
        self.0.get_mut().write_all(&command).expect("the server listens");
        self.reply()
    }

    fn reply(&mut self) -> Vec<u8> {
        let mut reply = self.line();
        let announced = String::from_utf8_lossy(&reply[1..]).trim().parse::<usize>();
        match (reply[0], announced) {
            (b'$', Ok(length)) => {
                let mut bytes = vec![0; length + 2];
                self.0.read_exact(&mut bytes).expect("the server goes on");
                reply.extend(bytes);
            }
            (b'*', Ok(count)) => reply.extend((0..count).flat_map(|_| self.reply())),
            _ => {}
        }
        reply
    }
}
