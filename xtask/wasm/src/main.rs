//! A limiter where there is no clock but the host's: in WebAssembly, run by `run.mjs`.

#[cfg(all(target_family = "wasm", target_os = "unknown"))]
mod limiter;

/// `cargo xtask wasm` builds and runs it.
fn main() {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    limiter::decides_by_the_clock_of_the_host();
}
