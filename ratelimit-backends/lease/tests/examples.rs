//! Every example runs to its end.

#[test]
fn every_example_runs() {
    ratelimit_servers::run_examples(env!("CARGO_MANIFEST_DIR"));
}
