//! Lines that are no requests, too late, cut off or too many.

use std::io::{self, Read};

use proptest::prelude::*;
use ratelimit_simulate::{Format, LogCounts, LogError, LogReader, LogSettings, Micros, Simulation};

use crate::formats::packed;

fn line(client: &str, second: u64) -> String {
    format!(
        "{client} - - [10/Oct/2025:13:{:02}:{:02} +0000] \"GET / HTTP/1.1\" 200 5\n",
        second / 60,
        second % 60
    )
}

fn simulation() -> Simulation {
    Simulation::new("api = { limit = 1, window = '10s' }".parse().unwrap())
}

fn read(settings: LogSettings, log: impl Read) -> (Result<(), LogError>, LogCounts, Simulation) {
    let (mut simulation, mut reader) = (simulation(), LogReader::new(settings).unwrap());
    let outcome = reader.read(log, &mut simulation);
    let counts = reader.finish(&mut simulation);
    (outcome, counts, simulation)
}

// FAULTS 238.
#[test]
fn lines_that_cannot_be_read_are_counted_and_the_first_are_named() {
    let good = line("203.0.113.9", 0);
    let log = [
        good.as_str(),
        "\n",
        "no line of a log\n",
        "203.0.113.9 - - [10/Oct/2025:25:00:00 +0000] \"GET / HTTP/1.1\" 200 5\n",
        "example.com - - [10/Oct/2025:13:00:00 +0000] \"GET / HTTP/1.1\" 200 5\n",
        "203.0.113.9 - - [10/Oct/2025:13:00:00 +0000] \"GET / HTT\n",
        &format!("{}\n", "x".repeat(1 << 20)),
        "\u{0}\u{fffd}\n",
        &good,
    ];
    let (outcome, counts, simulation) = read(LogSettings::default(), log.concat().as_bytes());
    outcome.unwrap();
    let bad: Vec<_> = counts.first_bad.iter().map(|bad| (bad.line, bad.reason)).collect();
    let no_line = "no line of the combined format";
    assert_eq!(
        bad,
        [
            (3, no_line),
            (4, "no time"),
            (5, "no address of a client"),
            (6, no_line),
            (7, "a line that is too long"),
        ]
    );
    assert_eq!((counts.lines, counts.requests, counts.bad), (8, 2, 6));
    let mut report = simulation.report();
    report.log = Some(counts);
    assert!(report.to_table().contains("6 of 8 lines: cannot be read (line 3: no line of"));
}

// FAULTS 238.
#[test]
fn a_log_that_is_cut_off_is_read_as_far_as_it_goes() {
    let lines: String =
        (0..5_000).map(|n| line(&format!("10.0.{}.{}", n / 256, n % 256), 0)).collect();
    let whole = packed(lines.as_bytes());
    for kept in [whole.len() / 2, whole.len() - 1] {
        let (outcome, counts, simulation) = read(LogSettings::default(), &whole[..kept]);
        assert!(matches!(outcome, Err(LogError::Cut(_))), "{outcome:?}");
        assert!((100..=5_000).contains(&counts.requests), "{counts:?}");
        assert_eq!(simulation.report().requests, counts.requests);
        assert!(counts.bad <= 1);
    }
}

/// A disk that fails.
struct Torn;

impl Read for Torn {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

// FAULTS 238.
#[test]
fn every_whole_line_before_a_cut_is_decided() {
    for lines in [1, 63, 64, 65, 100] {
        let log: String = (0..lines).map(|n| line(&format!("10.0.0.{n}"), 0)).collect();
        let (outcome, counts, simulation) =
            read(LogSettings::default(), log.as_bytes().chain(Torn));
        assert!(matches!(outcome, Err(LogError::Cut(_))), "{outcome:?}");
        assert_eq!((counts.requests, simulation.report().requests), (lines, lines));
    }
}

// FAULTS 238.
#[test]
fn a_log_of_nothing_has_a_report_of_nothing() {
    let heading = b"time,client,status\n";
    for log in [&b""[..], b"\n\r\n  \n", heading, &packed(b"")] {
        let (outcome, counts, simulation) = read(LogSettings::default(), log);
        outcome.unwrap();
        assert_eq!(counts, LogCounts::default());
        let mut report = simulation.report();
        report.log = Some(counts);
        assert_eq!((report.requests, report.clients), (0, 0));
        assert!(report.to_table().contains("no requests in the log"));
        assert!(report.to_html().contains("no requests in the log"));
    }
}

// FAULTS 238.
#[test]
fn lines_out_of_order_within_the_window_are_decided_in_the_order_of_their_times() {
    let ordered: Vec<_> = (0..60).map(|second| line("203.0.113.9", second)).collect();
    let shuffled: String =
        ordered.chunks(5).flat_map(|lines| lines.iter().rev().cloned()).collect();
    let (_, counts, expected) = read(LogSettings::default(), ordered.concat().as_bytes());
    assert_eq!(counts.late, 0);
    let (_, counts, found) = read(LogSettings::default(), shuffled.as_bytes());
    assert_eq!((found.report().to_json(), counts.late), (expected.report().to_json(), 0));
    assert_eq!(found.report().candidates[0].admitted, 6);

    let mut strict = LogSettings::default();
    strict.order_within = Micros::ZERO;
    // Of five lines the latest is held back, and three come after a later one.
    let (_, counts, simulation) = read(strict, shuffled.as_bytes());
    assert_eq!((counts.late, simulation.report().requests), (36, 60));
}

// FAULTS 238.
#[test]
fn clients_beyond_the_room_are_counted_and_those_within_it_are_decided_as_before() {
    let log: String =
        (0..1_000_u32).map(|n| line(&format!("10.0.{}.{}", n / 2 / 256, n / 2 % 256), 0)).collect();
    let mut simulation = simulation().with_clients_max(100);
    let mut reader = LogReader::new(LogSettings::default()).unwrap();
    reader.read(log.as_bytes(), &mut simulation).unwrap();
    let counts = reader.finish(&mut simulation);
    assert_eq!((counts.requests, counts.no_room, counts.lines), (200, 800, 1_000));
    let report = simulation.report();
    assert_eq!((report.clients, report.candidates[0].denied), (100, 100));
}

/// A line of each format, to be damaged.
const WHOLE: [(&str, &str); 3] = [
    (
        "combined",
        r#"10.0.0.1 - ann [10/Oct/2025:13:55:36 +0200] "GET /a?b HTTP/1.1" 200 5 "-" "a \"b" "::1""#,
    ),
    (
        "caddy",
        r#"{"ts":1760104536.25,"request":{"remote_ip":"10.0.0.1:80","uri":"\u002f","headers":{"X-Forwarded-For":["::1"]}},"status":200}"#,
    ),
    (
        "csv",
        "time,client,x_forwarded_for,method,path,status\n2025-10-10T13:55:36.5Z,10.0.0.1,\"a, \"\"b\",GET,/,200",
    ),
];

proptest! {
    /// Whatever is in a log: each line is counted once, and nothing panics.
    // FAULTS 238.
    #[test]
    fn every_line_of_anything_is_counted_once(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        noise in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        for (format, whole) in WHOLE {
            let mut log = whole.as_bytes().to_vec();
            for (place, byte) in &damage {
                let place = place.index(log.len());
                log[place] = *byte;
            }
            log.extend_from_slice(b"\n");
            log.extend_from_slice(&noise);
            let mut settings = crate::formats::behind_a_proxy();
            settings.format = Some(format.parse::<Format>().unwrap());
            settings.paths = "!/x*".parse().unwrap();
            settings.statuses = "!5??".parse().unwrap();
            let (outcome, counts, _) = read(settings, &log[..]);
            if outcome.is_ok() {
                let kinds = counts.requests + counts.left_out + counts.other + counts.bad;
                prop_assert_eq!(kinds, counts.lines);
            }
        }
    }
}

#[test]
fn a_field_that_the_log_does_not_have_is_refused_by_its_name() {
    let mut settings = LogSettings::default();
    settings.key = vec!["api_key".to_owned()];
    let (outcome, ..) = read(settings.clone(), line("203.0.113.9", 0).as_bytes());
    let said = outcome.unwrap_err().to_string();
    assert_eq!(said, "a log in the format combined has no field api_key");
    let (outcome, ..) = read(settings, &b"time,client\n1760104536,203.0.113.9\n"[..]);
    let said = outcome.unwrap_err().to_string();
    assert_eq!(said, "a log in the format csv has no field api_key");
}
