//! The examples as their users run them: processes, and requests over sockets.

use ratelimit_servers::{Example, run_example};

#[cfg(feature = "axum")]
#[test]
fn axum_greets_three_times_and_says_when_to_come_back() {
    Example::start("axum").greets_three_times();
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
