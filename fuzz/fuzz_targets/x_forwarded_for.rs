#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ratelimit_hostile::x_forwarded_for(data));
