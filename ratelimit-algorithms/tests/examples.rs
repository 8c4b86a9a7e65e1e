//! Every example runs to its end.
#![cfg(all(feature = "calendar", feature = "macros", feature = "tokio", feature = "toml"))]

#[test]
fn every_example_runs() {
    ratelimit_servers::run_examples(env!("CARGO_MANIFEST_DIR"));
}
