//! The bodies of the fuzz targets: promises that hold for any input.
//!
//! `cargo xtask fuzz` has libFuzzer look for bytes that break one. The test of this crate runs each
//! over the corpus that has been kept of that, and over random bytes: the short run, for machines
//! without a fuzzer.
//!
//! The decoding of Redis' replies has its target and its test in `ratelimit-redis`.
//!
//! The models and the properties are those of the crates' own tests, not others like them.
#![allow(clippy::missing_panics_doc, reason = "a panic is what is looked for")]

mod arithmetic;
mod client_address;
mod configuration;
mod state;

pub use crate::{
    arithmetic::arithmetic,
    client_address::{api_key, forwarded, x_forwarded_for},
    configuration::configuration,
    state::state,
};

/// Panics where something does not hold.
pub type Target = fn(&[u8]);

/// All of them, by the names of their corpora.
pub const TARGETS: [(&str, Target); 6] = [
    ("api_key", api_key),
    ("arithmetic", arithmetic),
    ("configuration", configuration),
    ("forwarded", forwarded),
    ("state", state),
    ("x_forwarded_for", x_forwarded_for),
];

/// Declares modules of other crates' tests, of which not all is needed here.
macro_rules! share {
    ($($path:literal: $name:ident;)*) => {
        $(
            #[allow(dead_code, unused_imports, reason = "its own crate's tests need the rest")]
            #[path = $path]
            mod $name;
        )*
    };
}

share! {
    "../../../ratelimit-core/tests/promises/agreement.rs": agreement;
    "../../../ratelimit-core/tests/promises/encoding.rs": encoding;
    "../../../ratelimit-core/tests/promises/model/mod.rs": model;
    "../../../ratelimit-core/tests/promises/rule.rs": rule;
    "../../../ratelimit-core/tests/promises/key_under_test.rs": key_under_test;
    "../../../ratelimit-core/tests/promises/trace.rs": trace;
    "../../../ratelimit-http/tests/http/client_ip/model.rs": clients_model;
}
