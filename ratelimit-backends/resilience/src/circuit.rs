//! A circuit: closed while the store answers, open while asking it is no use.
//!
//! It is pure: the time is an argument, and chance a seed. Whoever is about to ask the store is
//! admitted or not, and reports what came of it. So many failures in a row open the circuit for a
//! pause, at whose end one is admitted, the *probe*. An answer to the probe closes the circuit;
//! anything else opens it again, for a pause twice as long.
//!
//! A store that can tell when it may have come back ends any pause by that. Then long pauses, which
//! spare a store that is away, are not served by callers once it is there.

use std::num::NonZeroU32;

use ratelimit_backend::{BackendError, ErrorKind};
use ratelimit_core::{Micros, Timestamp, store::Decisions};

/// How a circuit stands.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete by nature")]
pub enum CircuitState {
    /// Everybody is admitted.
    Closed,
    /// Nobody is, until a pause is over.
    Open,
    /// One is asking whether the store is back; nobody else is admitted.
    Probing,
}

/// The circuit of one store.
#[derive(Debug)]
pub(crate) struct Circuit {
    pub(crate) failures_max: NonZeroU32,
    pub(crate) first_pause: Micros,
    pub(crate) longest_pause: Micros,
    pub(crate) seed: u64,
    pub(crate) refused: u64,
    pub(crate) opened: u64,
    phase: Phase,
    /// The number of the phase: a report from an earlier one comes too late to say anything.
    epoch: u64,
    /// Pauses since the circuit was closed.
    pauses: u32,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed {
        failures: u32,
    },
    /// Until the pause is over, or the store's recoveries are no longer these.
    Open {
        since: Timestamp,
        pause: Micros,
        recoveries: u64,
    },
    Probing {
        since: Timestamp,
    },
}

/// Leave to ask the store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leave {
    epoch: u64,
    /// The store's before it is asked, so that one while it fails to answer is not missed.
    recoveries: u64,
    pub(crate) is_probe: bool,
}

/// What an answer tells about the store's health.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Health {
    /// It has answered, if only that it will not do what it was asked to.
    Good,
    /// It did not answer.
    Bad,
    /// Nothing: the question has not come as far as the store, or what answered was not the store.
    Unknown,
}

impl Circuit {
    /// A closed circuit.
    pub(crate) const fn new(seed: u64) -> Self {
        Self {
            failures_max: FAILURES_MAX,
            first_pause: FIRST_PAUSE,
            longest_pause: LONGEST_PAUSE,
            seed,
            refused: 0,
            opened: 0,
            phase: Phase::Closed { failures: 0 },
            epoch: 0,
            pauses: 0,
        }
    }

    /// How it stands.
    pub(crate) const fn state(&self) -> CircuitState {
        match self.phase {
            Phase::Closed { .. } => CircuitState::Closed,
            Phase::Open { .. } => CircuitState::Open,
            Phase::Probing { .. } => CircuitState::Probing,
        }
    }

    /// Leave to ask a store that has come back so many times, if there is any; a closed circuit does
    /// not look at the clock. Where nobody knows the time every pause is over: asking too often is
    /// the lesser evil.
    pub(crate) fn admit(
        &mut self,
        recoveries: u64,
        now: impl FnOnce() -> Option<Timestamp>,
    ) -> Option<Leave> {
        let (since, pause) = match self.phase {
            Phase::Closed { .. } => return Some(self.leave(recoveries, false)),
            Phase::Open { since, recoveries: known, .. } if known != recoveries => {
                (since, Micros::ZERO)
            }
            Phase::Open { since, pause, .. } => (since, pause),
            // A probe that nobody waits for any more must not keep the circuit open for ever.
            Phase::Probing { since } => (since, self.longest_pause),
        };
        let now = now();
        // A clock that steps back must not, either.
        if now.is_some_and(|now| since <= now && now - since < pause) {
            self.refused = self.refused.saturating_add(1);
            return None;
        }
        self.enter(Phase::Probing { since: now.unwrap_or_default() });
        Some(self.leave(recoveries, true))
    }

    /// Takes note of what came of asking.
    pub(crate) fn report(
        &mut self,
        leave: Leave,
        health: Health,
        now: impl FnOnce() -> Option<Timestamp>,
    ) {
        if leave.epoch != self.epoch {
            return;
        }
        match (&mut self.phase, health) {
            (Phase::Closed { failures }, Health::Good) => *failures = 0,
            (Phase::Closed { failures }, Health::Bad) => {
                *failures = failures.saturating_add(1);
                if self.failures_max.get() <= *failures {
                    self.open(leave, now());
                }
            }
            (Phase::Closed { .. }, Health::Unknown) | (Phase::Open { .. }, _) => {}
            (Phase::Probing { .. }, Health::Good) => {
                self.pauses = 0;
                self.enter(Phase::Closed { failures: 0 });
            }
            (Phase::Probing { .. }, Health::Bad | Health::Unknown) => self.open(leave, now()),
        }
    }

    /// Takes a leave back that nothing came of: of a probe, the next caller is one.
    pub(crate) fn give_back(&mut self, leave: Leave) {
        if let Phase::Probing { since } = self.phase
            && leave.epoch == self.epoch
        {
            let Leave { recoveries, .. } = leave;
            self.enter(Phase::Open { since, pause: Micros::ZERO, recoveries });
        }
    }

    const fn leave(&self, recoveries: u64, is_probe: bool) -> Leave {
        Leave { epoch: self.epoch, recoveries, is_probe }
    }

    fn open(&mut self, Leave { recoveries, .. }: Leave, now: Option<Timestamp>) {
        let pause = self.pause();
        self.pauses = self.pauses.saturating_add(1);
        self.opened = self.opened.saturating_add(1);
        self.enter(Phase::Open { since: now.unwrap_or_default(), pause, recoveries });
    }

    const fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// The next pause: twice the last one, up to the longest; of that, a random length between
    /// the half and the whole, so that many processes do not ask at once.
    fn pause(&mut self) -> Micros {
        let doubled = self.first_pause.as_micros().saturating_mul(1 << self.pauses.min(62));
        let whole = doubled.min(self.longest_pause.as_micros());
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
    /// What an answer tells. A refusal is an answer: who is refused at once, and told why, need
    /// not be protected from waiting.
    pub(crate) fn of(answer: &Result<Decisions, BackendError>) -> Self {
        let Err(error) = answer else { return Self::Good };
        match error.kind() {
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

/// Fewer may be bad luck; more are waiting in vain.
const FAILURES_MAX: NonZeroU32 = NonZeroU32::new(5).unwrap();

/// About as long as a check is waited for.
const FIRST_PAUSE: Micros = Micros::from_millis(100);

/// What a store that is back, and cannot tell, may be left waiting for.
const LONGEST_PAUSE: Micros = Micros::from_secs(5);
