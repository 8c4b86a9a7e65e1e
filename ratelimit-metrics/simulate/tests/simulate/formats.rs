//! The same requests in every format give the same report.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use ratelimit_http::ClientIp;
use ratelimit_simulate::{Format, LogCounts, LogReader, LogSettings, Report, Simulation};

/// A request: second, client, method, path, status.
type Line = (u64, &'static str, &'static str, &'static str, u16);

const LINES: [Line; 8] = [
    (36, "203.0.113.9", "GET", "/api/items?page=2", 200),
    (36, "203.0.113.9", "GET", "/api/items?page=3", 200),
    (36, "2001:db8::1", "POST", "/login", 401),
    (37, "2001:db8::2", "POST", "/login", 200),
    (37, "203.0.113.9", "GET", "/logo.png", 304),
    (39, "203.0.113.9", "GET", "/api/items", 429),
    (39, "198.51.100.7", "GET", "/api/\\\"quoted\\\"", 404),
    (58, "203.0.113.9", "GET", "/api/items", 200),
];

const LIMITS: &str = r#"
api = { limit = 1, window = "10s", burst = 2 }
window = { algorithm = "fixed_window", limit = 2, window = "1m" }
"#;

/// A line of a format.
fn write(format: Format, (second, client, method, path, status): Line) -> String {
    let target = path.replace("\\\"", "%22");
    match format {
        Format::Combined => format!(
            "10.0.0.1 - frank [10/Oct/2025:15:55:{second} +0200] \"{method} {path} HTTP/1.1\" \
             {status} 512 \"-\" \"a \\\"browser\\\"\" \"{client}\""
        ),
        Format::Nginx => format!(
            "{{\"time_iso8601\":\"2025-10-10T13:55:{second}+00:00\",\"remote_addr\":\"10.0.0.1\",\
             \"request_method\":\"{method}\",\"request_uri\":\"{target}\",\"status\":\"{status}\",\
             \"http_x_forwarded_for\":\"{client}\"}}"
        ),
        Format::Caddy => format!(
            "{{\"level\":\"info\",\"ts\":17601045{second}.000,\"logger\":\"http.log.access\",\
             \"msg\":\"handled request\",\"request\":{{\"remote_ip\":\"10.0.0.1\",\
             \"remote_port\":\"4711\",\"method\":\"{method}\",\"uri\":\"{target}\",\
             \"headers\":{{\"X-Forwarded-For\":[\"{client}\"],\"Accept\":[\"*/*\"]}}}},\
             \"bytes_read\":0,\"status\":{status}}}"
        ),
        Format::Traefik => format!(
            "{{\"ClientAddr\":\"10.0.0.1:4711\",\"ClientHost\":\"10.0.0.1\",\
             \"DownstreamStatus\":{status},\"RequestMethod\":\"{method}\",\
             \"RequestPath\":\"{target}\",\"StartUTC\":\"2025-10-10T13:55:{second}.000000000Z\",\
             \"request_X-Forwarded-For\":\"{client}\",\"level\":\"info\",\"msg\":\"\"}}"
        ),
        Format::Envoy => format!(
            "{{\"start_time\":\"2025-10-10T13:55:{second}.000Z\",\"method\":\"{method}\",\
             \"path\":\"{target}\",\"response_code\":{status},\"x_forwarded_for\":\"{client}\",\
             \"downstream_remote_address\":\"10.0.0.1:4711\",\"upstream_host\":null}}"
        ),
        Format::Axum => format!(
            "{{\"timestamp\":\"2025-10-10T13:55:{second}.000000Z\",\"level\":\"DEBUG\",\
             \"fields\":{{\"message\":\"finished processing request\",\"latency\":\"0 ms\",\
             \"status\":{status}}},\"target\":\"tower_http::trace::on_response\",\
             \"span\":{{\"client_ip\":\"10.0.0.1\",\"x_forwarded_for\":\"{client}\",\
             \"method\":\"{method}\",\"uri\":\"{target}\",\"name\":\"request\"}}}}"
        ),
        _ => format!(
            "2025-10-10 13:55:{second},10.0.0.1,{method},{target},{status},\"a, \"\"b\"\"\",{client}"
        ),
    }
}

const FORMATS: [Format; 7] = [
    Format::Combined,
    Format::Nginx,
    Format::Caddy,
    Format::Traefik,
    Format::Envoy,
    Format::Axum,
    Format::Csv,
];

fn log(format: Format, lines: &[Line]) -> String {
    let mut log = String::new();
    if format == Format::Csv {
        log += "time,client_ip,method,path,status,agent,x_forwarded_for\n";
    }
    for line in lines {
        log += &write(format, *line);
        log += "\n";
    }
    log
}

/// Settings for a server behind a proxy.
pub(crate) fn behind_a_proxy() -> LogSettings {
    let mut settings = LogSettings::default();
    let builder = ClientIp::builder().x_forwarded_for();
    settings.client_ip = builder.trusted_proxies(["10.0.0.0/8"]).build().unwrap();
    settings.forwarded = Some(("x-forwarded-for".to_owned(), "forwarded".to_owned()));
    settings
}

#[track_caller]
fn report(settings: &LogSettings, log: &[u8]) -> (Report, LogCounts) {
    let mut simulation = Simulation::new(LIMITS.parse().unwrap());
    let mut reader = LogReader::new(settings.clone()).unwrap();
    reader.read(log, &mut simulation).unwrap();
    let counts = reader.finish(&mut simulation);
    (simulation.report(), counts)
}

#[track_caller]
fn is_the_same(settings: &LogSettings, log: &[u8], expected: &Report) {
    let (found, counts) = report(settings, log);
    assert_eq!(found.to_json(), expected.to_json(), "{counts:?}");
}

#[test]
fn every_format_gives_the_same_report_and_is_known_by_its_first_line() {
    let mut settings = behind_a_proxy();
    let (expected, counts) = report(&settings, log(Format::Combined, &LINES).as_bytes());
    assert_eq!((counts.lines, counts.requests, counts.bad), (8, 8, 0), "{counts:?}");
    assert_eq!((expected.clients, expected.requests), (3, 8));
    // 203.0.113.9: two at once, the third and fourth too early, the last one after enough time.
    assert_eq!((expected.candidates[0].denied, expected.candidates[1].denied), (2, 3));
    for format in FORMATS {
        settings.format = None;
        is_the_same(&settings, log(format, &LINES).as_bytes(), &expected);
        settings.format = Some(format.to_string().parse().unwrap());
        is_the_same(&settings, log(format, &LINES).as_bytes(), &expected);
    }
}

#[test]
fn every_format_tells_methods_paths_and_statuses() {
    for format in FORMATS {
        for (method, path, status, requests) in [
            ("GET", "", "", 6),
            ("!GET", "", "", 2),
            ("", "/api/items", "", 4),
            ("", "/api/*,!/api/items", "", 1),
            ("", "", "2??", 4),
            ("", "", "!429,!304", 6),
            ("GET", "/api/items", "200", 3),
        ] {
            let mut settings = behind_a_proxy();
            settings.methods = method.parse().unwrap();
            settings.paths = path.parse().unwrap();
            settings.statuses = status.parse().unwrap();
            let (_, counts) = report(&settings, log(format, &LINES).as_bytes());
            assert_eq!(counts.requests, requests, "{format} {method} {path} {status}");
            assert_eq!(counts.left_out, 8 - requests);
        }
    }
}

#[test]
fn keys_and_costs_are_fields_of_any_name() {
    let caddy = |user: &str, tokens: u64| {
        format!(
            "{{\"ts\":1760104536,\"user_id\":\"{user}\",\"request\":{{\"uri\":\"/v1?x\"}},\
             \"resp\":{{\"tokens\":{tokens}}},\"status\":200}}\n"
        )
    };
    let mut settings = LogSettings::default();
    settings.format = Some(Format::Caddy);
    settings.key = vec!["user_id".to_owned(), "path".to_owned()];
    settings.cost = Some("resp.tokens".to_owned());
    let log = caddy("ann", 2) + &caddy("bob", 1) + &caddy("ann", 1) + &caddy("bob", 3);
    let (report, counts) = report(&settings, (log + &caddy("eve", 0)).as_bytes());
    assert_eq!((counts.requests, counts.bad, report.clients), (4, 1, 2));
    let api = &report.candidates[0];
    assert_eq!((api.admitted, api.denied, api.too_costly), (2, 2, 1));
    let mut clients: Vec<_> = api.most_affected.iter().map(|it| &*it.client).collect();
    clients.sort_unstable();
    assert_eq!(clients, ["ann /v1", "bob /v1"]);
}

// FAULTS 238.
#[test]
fn lines_of_other_kinds_in_the_log_of_a_program_are_no_requests() {
    let other = "{\"timestamp\":\"2025-10-10T13:55:36.000000Z\",\"level\":\"DEBUG\",\"fields\":\
                 {\"message\":\"started processing request\"},\"target\":\"tower_http::trace\",\
                 \"span\":{\"client_ip\":\"10.0.0.1\",\"method\":\"GET\",\"uri\":\"/\"}}\n";
    let log = other.to_owned() + &log(Format::Axum, &LINES);
    let (_, counts) = report(&behind_a_proxy(), log.as_bytes());
    assert_eq!((counts.requests, counts.other, counts.bad), (8, 1, 0));
}

pub(crate) fn packed(text: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(text).unwrap();
    packed.finish().unwrap()
}

#[test]
fn a_packed_log_and_one_of_several_members_is_read_as_a_plain_one() {
    let settings = behind_a_proxy();
    let plain = log(Format::Combined, &LINES);
    let (expected, _) = report(&settings, plain.as_bytes());
    is_the_same(&settings, &packed(plain.as_bytes()), &expected);
    let (first, second) = plain.split_at(300);
    let members = [packed(first.as_bytes()), packed(second.as_bytes())].concat();
    is_the_same(&settings, &members, &expected);
    is_the_same(&settings, plain.replace('\n', "\r\n").as_bytes(), &expected);
    is_the_same(&settings, plain.trim_end().as_bytes(), &expected);
}
