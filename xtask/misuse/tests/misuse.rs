//! Likely mistakes do not compile, and the compiler says what to do instead.
//!
//! As the wrong span would be as good as none, the messages are compared whole. They are those of a
//! crate without optional features. `TRYBUILD=overwrite` renews them.

#[test]
fn misuse_is_refused_where_it_stands() {
    let misuses = trybuild::TestCases::new();
    misuses.compile_fail("tests/attribute/*.rs");
    misuses.compile_fail("tests/features/*.rs");
    misuses.compile_fail("tests/layer/*.rs");
    misuses.compile_fail("tests/limiter/*.rs");
}
