//! The form of a state: what stores keep of it, and the parts that they reach into.

use alloc::vec::Vec;

use super::{entries::Log, sensor::Sensor};

/// The state of a key under one algorithm.
pub(crate) trait KeyState: Sized {
    /// The words of the state, to be stored; by default those of its compact form.
    fn words(&self) -> Vec<u64> {
        self.compact().into_iter().flatten().collect()
    }

    /// The state as three words, if it always fits into them.
    #[inline(always)]
    fn compact(&self) -> Option<[u64; 3]> {
        None
    }

    /// The state of these three words, if it always fits into them.
    #[inline(always)]
    fn expand(_: [u64; 3]) -> Option<Self> {
        None
    }

    /// The words of a state that has a log, besides those of the log.
    const WORDS_BESIDE_LOG: Option<usize> = None;

    /// The log, if there is one.
    fn log_mut(&mut self) -> Option<&mut Log> {
        None
    }

    /// The load sensor, if there is one.
    fn sensor_mut(&mut self) -> Option<&mut Sensor> {
        None
    }
}
