//! The result of a check: a small value that is copied, not borrowed.

use core::fmt;

use crate::{Micros, Timestamp};

/// The result of one check of one policy and key.
///
/// The quantities describe the key after the charge where there was one, and as it stands where
/// there was none (a denial, a peek).
///
/// It fills one cache line, of whole words throughout: a decision is copied more often than it is
/// looked at, and one with gaps is copied byte by byte, which takes as long as making it.
#[must_use = "a decision that nobody looks at limits nothing"]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(from = "Parts", into = "Parts"))]
pub struct Decision {
    outcome: PackedOutcome,
    /// The most permits that a key as good as new has.
    pub limit: u64,
    /// The exact number of further requests of cost 1 that would be admitted at this instant.
    pub remaining: u64,
    /// The time until the key is as good as new, if nobody spends.
    pub reset_after: Micros,
    /// The instant of the decision, by the store's clock.
    pub at: Timestamp,
    seen: Seen,
}

impl Decision {
    /// The verdict on the request.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        self.outcome.unpack()
    }

    /// Returns true if the request may go on (after its `delay`, where pacing applies).
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        self.outcome.is_allow()
    }

    /// Permits that the request may use: the cost of an admitted spend; the part of its cost that an
    /// [`Action::Take`](crate::Action::Take) got; the part that a penalty has charged.
    ///
    /// Zero for a denial, for every check of a batch that was denied, and for actions that charge
    /// nothing. Where something other than the store has decided (see [`source`](Self::source)), the
    /// store may have charged fewer permits.
    #[must_use]
    pub const fn charged(&self) -> u64 {
        self.outcome.charged()
    }

    /// The same decision with another outcome, and so many permits charged; none where it denies.
    pub const fn with_outcome(self, outcome: Outcome, charged: u64) -> Self {
        let charged = if charged < CHARGED_MAX { charged } else { CHARGED_MAX };
        Self { outcome: PackedOutcome::new(outcome, charged), ..self }
    }

    /// The time until this very request would be admitted, if nobody else spends; zero when it
    /// was admitted.
    #[must_use]
    pub const fn retry_after(&self) -> Micros {
        match self.outcome() {
            Outcome::Allow { .. } => Micros::ZERO,
            Outcome::Deny { retry_after } => retry_after,
        }
    }

    /// The origin of the outcome.
    #[must_use]
    pub const fn source(&self) -> Source {
        self.seen.source()
    }

    /// The same decision from another source.
    pub const fn with_source(mut self, source: Source) -> Self {
        self.seen.1 = self.seen.1 & !(SOURCE << SOURCE_AT) | (source as u64) << SOURCE_AT;
        self
    }

    /// Returns true if the limit is only watched: its denials are not enforced, and clients are not
    /// told of it.
    #[must_use]
    pub const fn is_watched(&self) -> bool {
        self.seen.has(WATCHED)
    }

    /// The same decision of a limit that is only watched.
    pub const fn watched(mut self) -> Self {
        self.seen.1 |= WATCHED;
        self
    }

    /// Returns true if the key is blocked: it is denied however its limit stands.
    #[must_use]
    pub const fn is_blocked(&self) -> bool {
        self.seen.has(BLOCKED)
    }

    /// The same decision about a key that is blocked.
    pub(crate) const fn blocked(mut self) -> Self {
        self.seen.1 |= BLOCKED;
        self
    }

    /// Returns true if the key owes permits: a penalty has charged more than there was room for. It is
    /// denied until they are paid back.
    #[must_use]
    pub const fn is_in_debt(&self) -> bool {
        self.seen.has(IN_DEBT)
    }

    /// The same decision about a key that owes permits.
    pub(crate) const fn in_debt(mut self) -> Self {
        self.seen.1 |= IN_DEBT;
        self
    }

    /// The two quantities that an algorithm has seen, if it is of that kind.
    pub(crate) const fn seen_by(&self, kind: u8) -> Option<[u64; 2]> {
        let Seen(first, second) = self.seen;
        if self.seen.kind() == kind { Some([first, second & SECOND]) } else { None }
    }
}

/// An outcome, and the permits charged, in two words.
///
/// The verdict is an enum, not a bit of a number, for its unused values: an `Option` or `Result` of
/// a decision takes no additional word.
#[derive(Clone, Copy)]
#[repr(C)]
struct PackedOutcome {
    verdict: Verdict,
    /// The lower 32 bits of the permits charged; of a denial they mean nothing.
    charged_low: u32,
    /// The delay, or the time to wait; and above it the upper bits of the permits charged.
    length: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
enum Verdict {
    Allow,
    Deny,
}

impl PackedOutcome {
    /// So many permits are at most [`CHARGED_MAX`].
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the rest is kept beside the length")]
    const fn new(outcome: Outcome, charged: u64) -> Self {
        let (verdict, length) = match outcome {
            Outcome::Allow { delay } => (Verdict::Allow, delay),
            Outcome::Deny { retry_after } => (Verdict::Deny, retry_after),
        };
        let length = length.as_micros() | (charged >> u32::BITS) << LENGTH_BITS;
        Self { verdict, charged_low: charged as u32, length }
    }

    const fn unpack(self) -> Outcome {
        let length = Micros::new(self.length & ((1 << LENGTH_BITS) - 1));
        match self.verdict {
            Verdict::Allow => Outcome::Allow { delay: length },
            Verdict::Deny => Outcome::Deny { retry_after: length },
        }
    }

    const fn is_allow(self) -> bool {
        matches!(self.verdict, Verdict::Allow)
    }

    const fn charged(self) -> u64 {
        match self.verdict {
            Verdict::Allow => self.length >> LENGTH_BITS << u32::BITS | self.charged_low as u64,
            Verdict::Deny => 0,
        }
    }
}

impl Eq for PackedOutcome {}

impl PartialEq for PackedOutcome {
    fn eq(&self, other: &Self) -> bool {
        self.unpack() == other.unpack() && self.charged() == other.charged()
    }
}

impl fmt::Debug for PackedOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {} charged", self.unpack(), self.charged())
    }
}

/// The bits of a length of time; what is above them is free.
const LENGTH_BITS: u32 = 53;

/// More than a limit and a debt together.
const CHARGED_MAX: u64 = (1 << (u32::BITS + u64::BITS - LENGTH_BITS)) - 1;

/// Two quantities that the algorithm saw. The spare bits of the second one hold the kind of the
/// algorithm, three flags and the [`Source`].
#[derive(Clone, Copy, Eq, PartialEq)]
struct Seen(u64, u64);

impl Seen {
    const fn new([first, second]: [u64; 2], kind: u8) -> Self {
        Self(first, second & SECOND | (kind as u64) << KIND_AT)
    }

    const fn source(self) -> Source {
        match self.1 >> SOURCE_AT & SOURCE {
            0 => Source::Store,
            1 => Source::Cache,
            2 => Source::List,
            3 => Source::Shadow,
            4 => Source::Local,
            5 => Source::Open,
            _ => Source::Lease,
        }
    }

    const fn kind(self) -> u8 {
        (self.1 >> KIND_AT & KIND).to_le_bytes()[0]
    }

    const fn has(self, flag: u64) -> bool {
        self.1 & flag != 0
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(first, second) = *self;
        write!(f, "{first}, {} from {:?}", second & SECOND, self.source())
    }
}

/// No quantity passes 2^53, so the bits from here on are free.
const KIND_AT: u32 = 54;
const SECOND: u64 = (1 << KIND_AT) - 1;

/// The bits of a kind.
const KIND: u64 = (1 << 4) - 1;

const WATCHED: u64 = 1 << 58;
const BLOCKED: u64 = 1 << 59;
const IN_DEBT: u64 = 1 << 60;

/// The bits of a source.
const SOURCE_AT: u32 = 61;
const SOURCE: u64 = (1 << (u64::BITS - SOURCE_AT)) - 1;

/// The origin of an outcome. The core sets only [`Store`](Self::Store); the others are for layers
/// between a store and its callers.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[non_exhaustive]
#[repr(u8)]
pub enum Source {
    /// The record in the store.
    #[default]
    Store,
    /// An earlier denial, which still holds; the store was not asked.
    Cache,
    /// A list of keys that are always allowed, or always denied; the store was not asked.
    List,
    /// The store denied, and the request is let through all the same: its limit is only watched.
    Shadow,
    /// The store failed, and a limit kept in this process stands in for it.
    Local,
    /// The store failed, and the request is let through without a limit.
    Open,
    /// A lease: the store has charged the permits ahead, and was not asked again.
    Lease,
}

impl Source {
    /// Returns true if the store has charged what the request may use, so that a refund gives it back.
    #[must_use]
    pub const fn is_charged(self) -> bool {
        matches!(self, Self::Store | Self::Lease)
    }
}

/// The verdict on a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[expect(clippy::exhaustive_enums, reason = "complete by nature")]
pub enum Outcome {
    /// The request is admitted, once `delay` has passed.
    Allow {
        /// Zero, except for a leaky bucket used as a queue.
        delay: Micros,
    },
    /// The request is denied; nothing was charged.
    Deny {
        /// The time until this very request would be admitted, if nobody else spends: not a
        /// microsecond less, not one more. Of permits in flight it is an upper bound: the time until
        /// enough of them lapse, if nobody gives any back.
        retry_after: Micros,
    },
}

impl Outcome {
    /// Admitted at once.
    pub(crate) const ALLOW: Self = Self::Allow { delay: Micros::ZERO };

    pub(crate) const fn is_allow(&self) -> bool {
        matches!(self, Self::Allow { .. })
    }

    /// A denial, at once over where this is none.
    pub(crate) const fn denied(self) -> Self {
        match self {
            Self::Allow { .. } => Self::Deny { retry_after: Micros::ZERO },
            denial @ Self::Deny { .. } => denial,
        }
    }
}

/// The standing of a key at an instant: a decision without its outcome.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) limit: u64,
    pub(crate) remaining: u64,
    pub(crate) reset_after: Micros,
    /// Two quantities that tell the details together with the policy. The second is at most
    /// 2^53.
    pub(crate) seen: [u64; 2],
}

impl Standing {
    /// Of nothing at all.
    pub(crate) const NONE: Self =
        Self { limit: 0, remaining: 0, reset_after: Micros::ZERO, seen: [0, 0] };

    #[inline(always)]
    pub(crate) const fn with(
        self,
        (outcome, charged): (Outcome, u64),
        kind: u8,
        at: Timestamp,
    ) -> Decision {
        let Self { limit, remaining, reset_after, seen } = self;
        let outcome = PackedOutcome::new(outcome, charged);
        Decision { outcome, limit, remaining, reset_after, at, seen: Seen::new(seen, kind) }
    }
}

/// A decision as it is serialised.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize, serde::Serialize)]
struct Parts {
    outcome: Outcome,
    #[serde(default)]
    charged: u64,
    limit: u64,
    remaining: u64,
    reset_after: Micros,
    at: Timestamp,
    source: Source,
    #[serde(default)]
    is_watched: bool,
    #[serde(default)]
    is_blocked: bool,
    #[serde(default)]
    is_in_debt: bool,
    algorithm: u8,
    seen: [u64; 2],
}

#[cfg(feature = "serde")]
impl From<Decision> for Parts {
    fn from(decision: Decision) -> Self {
        let Decision { outcome, limit, remaining, reset_after, at, seen } = decision;
        let (outcome, charged) = (outcome.unpack(), outcome.charged());
        let (source, algorithm) = (seen.source(), seen.kind());
        let (is_watched, is_blocked) = (decision.is_watched(), decision.is_blocked());
        let is_in_debt = decision.is_in_debt();
        let seen = [seen.0, seen.1 & SECOND];
        Self {
            outcome,
            charged,
            limit,
            remaining,
            reset_after,
            at,
            source,
            is_watched,
            is_blocked,
            is_in_debt,
            algorithm,
            seen,
        }
    }
}

#[cfg(feature = "serde")]
impl From<Parts> for Decision {
    fn from(parts: Parts) -> Self {
        let Parts { outcome, charged, limit, remaining, reset_after, at, .. } = parts;
        let Parts { source, algorithm, seen, .. } = parts;
        let standing = Standing { limit, remaining, reset_after, seen };
        let charged = charged.min(CHARGED_MAX);
        let decision = standing.with((outcome, charged), algorithm, at).with_source(source);
        let decision = if parts.is_watched { decision.watched() } else { decision };
        let decision = if parts.is_in_debt { decision.in_debt() } else { decision };
        if parts.is_blocked { decision.blocked() } else { decision }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_fills_one_cache_line() {
        assert_eq!(size_of::<Decision>(), 64);
    }

    #[test]
    fn an_outcome_and_the_permits_charged_share_two_words() {
        let longest = Micros::MAX;
        for outcome in [
            Outcome::Allow { delay: longest },
            Outcome::Deny { retry_after: longest },
            Outcome::ALLOW,
        ] {
            let none = Standing::NONE.with((Outcome::ALLOW, 0), 1, Timestamp::EPOCH);
            for charged in [0, 1, 1 << 41, CHARGED_MAX, u64::MAX] {
                let decision = none.with_outcome(outcome, charged);
                let is_allowed = outcome.is_allow();
                assert_eq!((decision.outcome(), decision.is_allowed()), (outcome, is_allowed));
                let wanted = if is_allowed { charged.min(CHARGED_MAX) } else { 0 };
                assert_eq!(decision.charged(), wanted);
                assert_eq!(decision.with_outcome(Outcome::ALLOW, 0), none);
            }
        }
    }

    #[test]
    fn kind_flags_and_source_take_nothing_from_the_numbers() {
        let seen = [u64::MAX, 1 << 53];
        let standing = Standing { seen, ..Standing::NONE };
        let decision = standing.with((Outcome::ALLOW, 0), 8, Timestamp::EPOCH);
        let sources = [
            Source::Store,
            Source::Cache,
            Source::List,
            Source::Shadow,
            Source::Local,
            Source::Open,
            Source::Lease,
        ];
        for source in sources.into_iter().chain(sources) {
            let from = decision.with_source(source).with_source(source);
            assert_eq!(
                (from.source(), from.seen_by(8), from.seen_by(7)),
                (source, Some(seen), None)
            );
            assert_eq!(from.with_source(Source::Store), decision);
            assert!(!from.is_watched() && !from.is_blocked() && !from.is_in_debt());
            let flagged = from.watched().blocked().in_debt();
            assert!(flagged.is_watched() && flagged.is_blocked() && flagged.is_in_debt());
            assert_eq!((flagged.source(), flagged.seen_by(8)), (source, Some(seen)));
        }
    }
}
