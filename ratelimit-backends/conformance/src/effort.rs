//! The size of the suite: more effort finds more, and takes longer.

/// The size of the suite. With the defaults it takes a store in memory a few seconds.
#[must_use]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Effort {
    pub(crate) checks_per_task: u64,
    pub(crate) trace_steps: u64,
    pub(crate) keys: u64,
    pub(crate) seed: u64,
}

impl Effort {
    /// 64 tasks of 200 checks, traces of 500 steps, 10 000 keys.
    pub const fn new() -> Self {
        Self { checks_per_task: 200, trace_steps: 500, keys: 10_000, seed: 0 }
    }

    /// The number of checks that each of 64 tasks makes when they race for one limit.
    pub const fn with_checks_per_task(self, checks_per_task: u64) -> Self {
        Self { checks_per_task, ..self }
    }

    /// The number of steps of a random trace.
    pub const fn with_trace_steps(self, trace_steps: u64) -> Self {
        Self { trace_steps, ..self }
    }

    /// The number of keys that the store grows to.
    pub const fn with_keys(self, keys: u64) -> Self {
        Self { keys, ..self }
    }

    /// The seed of the random traces: the same seed makes the same traces.
    pub const fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }
}

impl Default for Effort {
    fn default() -> Self {
        Self::new()
    }
}
