//! The example, as its user runs it.

#[test]
fn simulate_names_who_would_have_been_denied_and_the_smallest_limit_that_denies_few() {
    let said = ratelimit_servers::run_example("simulate");
    // Twenty at once, and nineteen in the rest of the minute.
    assert!(said.contains("api: 21 requests denied, of 1 clients\n  192.0.2.1: 21\n"), "{said}");
    assert!(said.contains("\napi = "), "{said}");
}
