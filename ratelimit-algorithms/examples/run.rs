//! A limit around a piece of work, without a macro.
//!
//! `cargo run -p ratelimit-algorithms --example run`

use ratelimit_algorithms::{Limiter, TokenBucket};
use ratelimit_memory::Memory;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limiter = Limiter::new(Memory::new(), "sums", TokenBucket::per_hour(2))?;
    for n in 1..=3 {
        match limiter.run("user:42", || (1..=n).sum::<u64>()).now() {
            Ok(sum) => println!("the sum up to {n} is {sum}"),
            Err(error) => println!("not up to {n}: {error}"),
        }
    }
    Ok(())
}
