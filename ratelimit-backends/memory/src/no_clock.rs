//! The place of the store's clock where nothing tells the time: WebAssembly without a system.

use std::convert::Infallible;

use ratelimit_backend::{BackendError, Clock};
use ratelimit_core::Timestamp;

/// Monotonic time; there is none of it here, and so no value of this type. Give
/// [`Memory::with_clock`](crate::Memory::with_clock) the clock of the host.
#[derive(Debug)]
pub struct SwiftClock(Infallible);

impl Clock for SwiftClock {
    fn now(&self) -> Result<Timestamp, BackendError> {
        match self.0 {}
    }
}
