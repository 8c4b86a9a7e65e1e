//! The examples as their users run them: processes, and requests over sockets.

use ratelimit_servers::{Example, run_example};

#[cfg(feature = "axum")]
#[test]
fn axum_greets_three_times_and_says_when_to_come_back() {
    Example::start("axum").greets_three_times();
}

/// The status and the permits left of a login with this body.
#[cfg(feature = "axum")]
fn log_in(login: &Example, body: &str) -> (u16, Option<u64>) {
    let head = "POST /login HTTP/1.1\r\nhost: test\r\nconnection: close";
    let answer = login.send(&format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let left = answer.lines().find_map(|line| line.strip_prefix("x-ratelimit-remaining: "));
    (status.expect("it answers"), left.map(|left| left.parse().expect("a number")))
}

#[cfg(feature = "axum")]
#[test]
fn login_counts_failures_of_a_user_at_an_address_and_no_success() {
    let login = Example::start("login");
    let of = |user: &str, password: &str| format!(r#"{{"user":"{user}","password":"{password}"}}"#);
    for _ in 0..5 {
        assert_eq!(log_in(&login, &of("ann", "correct horse")).0, 204);
    }
    for (user, left) in [("ann", 2), ("Ann", 1), (" ANN ", 0)] {
        assert_eq!(log_in(&login, &of(user, "wrong")), (401, Some(left)));
    }
    assert_eq!(log_in(&login, &of("ann", "correct horse")), (429, Some(0)), "even if it is right");
    assert_eq!(log_in(&login, &of("bob", "wrong")), (401, Some(2)), "another user's");
    for nonsense in ["", "{}", r#"{"user":7,"password":"x"}"#] {
        assert_eq!(log_in(&login, nonsense).0, 400);
    }
    let (status, left) = log_in(&login, &of("ann", &"x".repeat(5_000)));
    assert_eq!((status, left), (413, Some(91)), "nine have failed at this address");
}

#[cfg(feature = "axum")]
#[test]
fn stream_charges_a_token_for_each_word() {
    let stream = Example::start("stream");
    let ask = |words: &str| {
        let head = format!("GET /?{words} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        stream.send(&head)
    };
    let answer = ask("seven%20words%20are%20more%20than%20one");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    for _ in 0..40 {
        // A hundred are reserved each time, and 1,000 an hour would be spent after ten.
        assert!(ask("one").starts_with("HTTP/1.1 200 OK\r\n"));
    }
}

#[cfg(feature = "axum")]
#[test]
fn cost_charges_the_rows_that_a_response_tells() {
    let cost = Example::start("cost");
    let read = |rows: u32| {
        let head = format!("GET /?{rows} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        let answer = cost.send(&head);
        let left = answer.lines().find_map(|line| line.strip_prefix("x-ratelimit-remaining: "));
        (answer[9..12].to_owned(), left.map(str::to_owned))
    };
    // What is left while a hundred are reserved.
    for (rows, status, left) in
        [(20, "200", 900), (850, "200", 880), (100, "200", 30), (1, "429", 30)]
    {
        assert_eq!(read(rows), (status.to_owned(), Some(left.to_string())), "{rows}");
    }
}

#[cfg(all(feature = "axum", feature = "tokio"))]
#[test]
fn outgoing_waits_instead_of_being_refused() {
    let said = run_example("outgoing");
    let statuses: Vec<_> = said.lines().filter(|line| line.contains(": 200 OK after")).collect();
    assert_eq!(statuses.len(), 4, "{said}");
}

#[cfg(feature = "axum")]
#[test]
fn gateway_streams_an_answer_and_tells_of_all_limits() {
    let gateway = Example::start("gateway");
    let send = |line: &str, body: &str| {
        let head = format!("{line} HTTP/1.0\r\nauthorization: Bearer key-of-ann");
        gateway.send(&format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
    };
    let ask = || send("POST /v1/completions", r#"{"prompt": "two words", "max_tokens": 90000}"#);
    let answer = ask();
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
    let events = "data: {\"token\":\"two\"}\n\ndata: {\"token\":\"words\"}\n\n\
                  data: {\"usage\":{\"total_tokens\":4}}\n\ndata: [DONE]\n\n";
    assert!(answer.ends_with(events), "{answer}");
    for limit in ["requests", "tokens", "in-flight", "budget"] {
        assert!(answer.contains(&format!("\r\nratelimit: \"{limit}\";r=")), "{answer}");
    }
    // Another such estimate fits, since the first one was settled for four tokens.
    assert!(ask().starts_with("HTTP/1.0 200 OK\r\n"));
    assert!(send("PUT /v1/plan", "pro").starts_with("HTTP/1.0 204 "));
    let answer = ask();
    assert!(answer.contains("\"tokens\";q=1000000;w=60;qu=\"tokens\""), "{answer}");
}

#[test]
fn hyper_greets_three_times_and_says_when_to_come_back() {
    Example::start("hyper").greets_three_times();
}

#[test]
fn identity_believes_proxies_that_are_named_and_nobody_else() {
    let said = run_example("identity");
    let counts_against: Vec<_> =
        said.lines().filter_map(|line| Some(line.split_once("counts against ")?.1)).collect();
    assert_eq!(counts_against, ["203.0.113.7", "198.51.100.1", "198.51.100.1", "10.0.0.1"]);
    assert!(said.ends_with("one network, one budget: true\n"), "{said}");
}

#[cfg(feature = "grpc")]
#[tokio::test]
async fn tonic_answers_three_times_and_says_when_to_come_back()
-> Result<(), Box<dyn std::error::Error>> {
    use tonic::{Code, transport::Channel};
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    use tonic_types::StatusExt;

    let example = Example::start("tonic");
    let channel = Channel::from_shared(format!("http://{}", example.address))?.connect().await?;
    let mut client = HealthClient::new(channel);
    let question = || HealthCheckRequest { service: String::new() };
    for _ in 0..3 {
        client.check(question()).await?;
    }
    let denied = client.check(question()).await.expect_err("three were asked");
    assert_eq!(denied.code(), Code::ResourceExhausted);
    assert_eq!(denied.metadata().get("retry-after").map(|it| it.as_bytes()), Some(&b"20"[..]));
    let delay = denied.get_details_retry_info().and_then(|info| info.retry_delay);
    assert_eq!(delay.map(|delay| delay.as_secs()), Some(19), "and a part of the next");
    Ok(())
}
