//! Take as many permits as are left: for work in batches of any size.
//!
//! `cargo run -p ratelimit-algorithms --example take`

use ratelimit_algorithms::{Limiter, TokenBucket};
use ratelimit_memory::Memory;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rows = Limiter::new(Memory::new(), "rows", TokenBucket::per_hour(1_000))?;

    let mut left_to_import = 2_400;
    while 0 < left_to_import {
        let taken = rows.take("tenant:7", left_to_import.min(600)).now()?;
        if !taken.is_allowed() {
            println!("{left_to_import} rows have to wait, the next for {}", taken.retry_after());
            break;
        }
        println!("importing {} rows", taken.charged());
        left_to_import -= taken.charged();
    }
    Ok(())
}
