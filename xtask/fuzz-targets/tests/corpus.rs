//! The short run: what a fuzzer has found before, and what chance finds now.

use std::{fs, path::Path};

use proptest::{
    prelude::any,
    test_runner::{Config, TestRunner},
};
use ratelimit_fuzz_targets::TARGETS;

// FAULTS 41, 201.
#[test]
fn whatever_a_fuzzer_has_kept_breaks_no_target() {
    for (name, target) in TARGETS {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
        let inputs = fs::read_dir(corpus).unwrap();
        let inputs: Vec<_> = inputs.map(|input| fs::read(input.unwrap().path()).unwrap()).collect();
        assert!(!inputs.is_empty(), "{name} has a corpus");
        inputs.iter().for_each(|input| target(input));
    }
}

// FAULTS 201.
#[test]
fn random_bytes_break_no_target() {
    for (_, target) in TARGETS {
        let bytes = proptest::collection::vec(any::<u8>(), 0..400);
        let config = Config { failure_persistence: None, ..Config::default() };
        let run = TestRunner::new(config).run(&bytes, |bytes| {
            target(&bytes);
            Ok(())
        });
        run.unwrap();
    }
}
