//! The state machine of a circuit breaker.
//!
//! It is pure: the time and the random seed are arguments. A caller asks for permission to call the
//! store, and reports how the call ended. Several failures in a row open the circuit for a while,
//! the *backoff*; then it is half open: one call is let through, the *probe*. If the probe succeeds
//! the circuit closes, otherwise it opens again, for twice as long.
//!
//! A store that counts its recoveries ends a backoff early. So a long backoff spares a store that is
//! away, and callers do not wait for it once the store is back.

use std::num::NonZeroU32;

use ratelimit_backend::{BackendError, ErrorKind};
use ratelimit_core::{Action, Micros, Timestamp, store::Decisions};

/// The state of a circuit.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete by nature")]
pub enum CircuitState {
    /// All calls are let through.
    Closed,
    /// No call is let through until the backoff is over.
    Open,
    /// One call is under way, the probe; no other is let through.
    HalfOpen,
}

/// The circuit of one store.
#[derive(Debug)]
pub(crate) struct Circuit {
    pub(crate) failures_max: NonZeroU32,
    pub(crate) first_backoff: Micros,
    pub(crate) longest_backoff: Micros,
    pub(crate) seed: u64,
    pub(crate) refused: u64,
    pub(crate) opened: u64,
    phase: Phase,
    /// The number of the phase: a report from an earlier one says nothing about this one.
    epoch: u64,
    /// Backoffs since the circuit was last closed.
    backoffs: u32,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed {
        failures: u32,
    },
    /// Until the backoff is over, or the store's recoveries have changed.
    Open {
        since: Timestamp,
        backoff: Micros,
        recoveries: u64,
    },
    HalfOpen {
        since: Timestamp,
    },
}

/// The permission for one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Permission {
    epoch: u64,
    /// The store's recoveries before the call, so that one during the call is not missed.
    recoveries: u64,
    pub(crate) is_probe: bool,
}

/// The store's health, as far as a result shows it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Health {
    /// It has answered, if only to refuse.
    Good,
    /// It did not answer.
    Bad,
    /// The result says nothing about it.
    Unknown,
}

impl Circuit {
    /// A closed circuit.
    pub(crate) const fn new(seed: u64) -> Self {
        Self {
            failures_max: FAILURES_MAX,
            first_backoff: FIRST_BACKOFF,
            longest_backoff: LONGEST_BACKOFF,
            seed,
            refused: 0,
            opened: 0,
            phase: Phase::Closed { failures: 0 },
            epoch: 0,
            backoffs: 0,
        }
    }

    pub(crate) const fn state(&self) -> CircuitState {
        match self.phase {
            Phase::Closed { .. } => CircuitState::Closed,
            Phase::Open { .. } => CircuitState::Open,
            Phase::HalfOpen { .. } => CircuitState::HalfOpen,
        }
    }

    /// Returns permission to call a store that has recovered so many times, or refuses.
    ///
    /// A closed circuit does not read the clock. Without a time every backoff is over: calling too
    /// often is the lesser evil.
    pub(crate) fn admit(
        &mut self,
        recoveries: u64,
        now: impl FnOnce() -> Option<Timestamp>,
    ) -> Option<Permission> {
        let (since, length) = match self.phase {
            Phase::Closed { .. } => return Some(self.permission(recoveries, false)),
            Phase::Open { since, recoveries: known, .. } if known != recoveries => {
                (since, Micros::ZERO)
            }
            Phase::Open { since, backoff, .. } => (since, backoff),
            // A probe that nobody waits for any more must not keep the circuit open for ever.
            Phase::HalfOpen { since } => (since, self.longest_backoff),
        };
        let now = now();
        // Nor must a clock that steps back.
        if now.is_some_and(|now| since <= now && now - since < length) {
            self.refused = self.refused.saturating_add(1);
            return None;
        }
        self.enter(Phase::HalfOpen { since: now.unwrap_or_default() });
        Some(self.permission(recoveries, true))
    }

    /// Records the end of a call.
    pub(crate) fn report(
        &mut self,
        permission: Permission,
        health: Health,
        now: impl FnOnce() -> Option<Timestamp>,
    ) {
        if permission.epoch != self.epoch {
            return;
        }
        match (&mut self.phase, health) {
            (Phase::Closed { failures }, Health::Good) => *failures = 0,
            (Phase::Closed { failures }, Health::Bad) => {
                *failures = failures.saturating_add(1);
                if self.failures_max.get() <= *failures {
                    self.open(permission, now());
                }
            }
            (Phase::Closed { .. }, Health::Unknown) | (Phase::Open { .. }, _) => {}
            (Phase::HalfOpen { .. }, Health::Good) => {
                self.backoffs = 0;
                self.enter(Phase::Closed { failures: 0 });
            }
            (Phase::HalfOpen { .. }, Health::Bad | Health::Unknown) => self.open(permission, now()),
        }
    }

    /// Takes back a permission whose call was dropped. After a dropped probe the next call is one.
    pub(crate) fn cancel(&mut self, permission: Permission) {
        if let Phase::HalfOpen { since } = self.phase
            && permission.epoch == self.epoch
        {
            let Permission { recoveries, .. } = permission;
            self.enter(Phase::Open { since, backoff: Micros::ZERO, recoveries });
        }
    }

    const fn permission(&self, recoveries: u64, is_probe: bool) -> Permission {
        Permission { epoch: self.epoch, recoveries, is_probe }
    }

    fn open(&mut self, Permission { recoveries, .. }: Permission, now: Option<Timestamp>) {
        let backoff = self.next_backoff();
        self.backoffs = self.backoffs.saturating_add(1);
        self.opened = self.opened.saturating_add(1);
        self.enter(Phase::Open { since: now.unwrap_or_default(), backoff, recoveries });
    }

    const fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// The next backoff: twice the last one, up to the longest, with jitter: a random length between
    /// the half and the whole, so that many processes do not probe at once.
    fn next_backoff(&mut self) -> Micros {
        let doubled = self.first_backoff.as_micros().saturating_mul(1 << self.backoffs.min(62));
        let whole = doubled.min(self.longest_backoff.as_micros());
        Micros::new(whole.saturating_sub(self.random() % (whole / 2).saturating_add(1)))
    }

    /// SplitMix64.
    const fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.seed ^ (self.seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Health {
    /// The health that the result of `action` shows.
    ///
    /// A refusal is an answer: a caller that is refused at once need not be protected from waiting.
    /// Other actions than spends, takes and peeks may time out because one key is contended, so their
    /// timeouts say nothing about the store.
    pub(crate) fn of(action: Action, result: &Result<Decisions, BackendError>) -> Self {
        let Err(error) = result else { return Self::Good };
        match error.kind() {
            ErrorKind::Timeout if !action.is_request() => Self::Unknown,
            ErrorKind::Unavailable | ErrorKind::Timeout => Self::Bad,
            ErrorKind::ReadOnly
            | ErrorKind::Auth
            | ErrorKind::Full
            | ErrorKind::Corrupt
            | ErrorKind::Incompatible
            | ErrorKind::Capacity => Self::Good,
            _ => Self::Unknown,
        }
    }
}

/// Fewer failures may be chance; more would delay more callers.
const FAILURES_MAX: NonZeroU32 = NonZeroU32::new(5).unwrap();

/// About as long as a caller waits for a check.
const FIRST_BACKOFF: Micros = Micros::from_millis(100);

/// The longest outage that is added to a store's own, where it does not count its recoveries.
const LONGEST_BACKOFF: Micros = Micros::from_secs(5);
