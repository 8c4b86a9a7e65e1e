//! Permits, as values to hold while the work is done: unused ones are given back.

use std::{fmt, iter::repeat_n};

use ratelimit_backend::Backend;
use ratelimit_core::{Decision, store::Decisions};
use smallvec::smallvec;

use crate::{
    charge::Charge,
    decision::LimitsDecision,
    error::Denial,
    prepared::{ApplyIfReady, Checks, PreparedCheck},
    settle::{Extend, Settle},
};

/// Permits that a key has spent, as a value to hold while the work is done.
///
/// Dropped, they stay spent, unless [`refund_on_drop`](Self::refund_on_drop) says otherwise. If
/// the cost is known only afterwards, acquire an estimate and [`settle`](Self::settle) it.
///
/// A refund gives back what is left of this very charge: after its window has gone that is
/// nothing, so a late refund never makes room that was not there. Nothing is given back if the
/// key's policy has changed meanwhile, since what is left was worked out at the old rate. If
/// something other than the store has decided ([`Source`](crate::Source)), there is nothing to settle.
///
/// Permits in flight are held until they are dropped, kept, settled or refunded: then all of them are
/// given back. A store that has to be awaited, and has no thread or task for what is dropped, leaves them to
/// lapse: await [`refund`](Self::refund) there. Two-method stores are of this kind; SQLite is not, nor is
/// Redis within a runtime, nor a wrapper around either. [`extend`](Self::extend) lets them be held for longer.
///
/// A permit borrows its limiter and its key. [`into_owned`](Self::into_owned) makes one that owns what
/// it needs, for a struct, a spawned task, a response's body.
///
/// ```
/// use ratelimit_algorithms::{FixedWindow, Limiter};
/// use ratelimit_memory::Memory;
///
/// # fn ask_the_model() -> u64 { 412 }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tokens = Limiter::new(Memory::new(), "tokens", FixedWindow::per_minute(10_000))?;
///
/// let permit = tokens.acquire("user:42").cost(1_000).now()?;
/// let used = ask_the_model();
/// permit.settle(used).now()?;
///
/// assert_eq!(tokens.peek("user:42").now()?.remaining, 10_000 - 412);
/// # Ok(())
/// # }
/// ```
pub struct Permit<'a, B>(Charge<'a, B>);

impl<'a, B> Permit<'a, B> {
    /// The decision of the limiter.
    pub fn decision(&self) -> &Decision {
        self.0.decision()
    }

    /// The same permits without a lifetime: the store and the policies are cloned, the key is copied.
    #[must_use = "the permits stay spent if they are dropped"]
    pub fn into_owned(self) -> Permit<'static, B>
    where
        B: Clone,
    {
        Permit(self.0.into_owned())
    }

    /// The same permits without a lifetime, if they are in flight: those of a rate stay spent. For
    /// [`rate_limit`](crate::rate_limit).
    #[doc(hidden)]
    pub fn into_held(self) -> Option<Permit<'static, B>>
    where
        B: Clone,
    {
        self.0.is_held().then(|| self.into_owned())
    }

    /// Gives the permits back when this is dropped before it is settled: for work that counts only
    /// if it ends well. Call [`keep`](Self::keep) when it has.
    ///
    /// A drop cannot await a store. SQLite gives permits back in its thread, Redis in a task of its
    /// runtime; on other stores that have to be awaited they stay spent, see
    /// [`Backend::apply_unawaited`].
    pub fn refund_on_drop(mut self) -> Self {
        self.0.refund_on_drop();
        self
    }

    /// Leaves the permits spent. Permits in flight are given back, as by any drop.
    pub fn keep(mut self) {
        self.0.keep();
    }

    /// Extends permits in flight, as if they were acquired now. Returns false, without effect, if
    /// they have lapsed or the key was reset.
    ///
    /// Returns true for permits that need no extension: those of a rate, and those that something
    /// other than the store has admitted.
    pub const fn extend(&self) -> Extend<'_, 'a, B> {
        Extend::new(&self.0)
    }

    /// Corrects the charge to `actual`: gives the rest back, or charges the difference, as far as
    /// the key has permits left or may owe them
    /// ([`Policy::with_debt_max`](crate::Policy::with_debt_max)). Permits in flight are given back
    /// whole.
    pub fn settle(self, actual: u64) -> Settle<'a, B> {
        Settle::new(self.0, smallvec![actual])
    }

    /// Gives all of them back.
    pub fn refund(self) -> Settle<'a, B> {
        self.settle(0)
    }
}

/// Shows no key.
impl<B> fmt::Debug for Permit<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("decision", self.decision()).finish_non_exhaustive()
    }
}

/// Permits of several limits that were charged as one, as a value to hold while the work is done.
///
/// Dropped, they stay spent, unless [`refund_on_drop`](Self::refund_on_drop) says otherwise. A
/// refund gives back of each what a [`Permit`] would.
///
/// ```
/// use ratelimit_algorithms::{FixedWindow, Limiter, Limits, TokenBucket};
/// use ratelimit_memory::Memory;
///
/// # fn ask_the_model() -> u64 { 412 }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = Memory::new();
/// let requests = Limiter::new(store.clone(), "requests", TokenBucket::per_minute(60))?;
/// let tokens = Limiter::new(store, "tokens", FixedWindow::per_minute(10_000))?;
///
/// let both = Limits::new(&requests, "user:42", 1).and(&tokens, "user:42", 1_000);
/// let permits = both.acquire().now()?;
/// let used = ask_the_model();
/// permits.settle([1, used]).now()?;
///
/// assert_eq!(tokens.peek("user:42").now()?.remaining, 10_000 - 412);
/// # Ok(())
/// # }
/// ```
pub struct Permits<'a, B> {
    charge: Charge<'a, B>,
    decision: LimitsDecision,
}

impl<'a, B> Permits<'a, B> {
    /// The decision of the limits.
    pub const fn decision(&self) -> &LimitsDecision {
        &self.decision
    }

    /// The same permits without a lifetime: stores and policies are cloned, keys are copied.
    #[must_use = "the permits stay spent if they are dropped"]
    pub fn into_owned(self) -> Permits<'static, B>
    where
        B: Clone,
    {
        Permits { charge: self.charge.into_owned(), decision: self.decision }
    }

    /// Gives the permits back when these are dropped before they are settled, as
    /// [`Permit::refund_on_drop`] does.
    pub fn refund_on_drop(mut self) -> Self {
        self.charge.refund_on_drop();
        self
    }

    /// Leaves the permits spent, except those in flight, which are given back.
    pub fn keep(mut self) {
        self.charge.keep();
    }

    /// Extends those in flight, as [`Permit::extend`] does: all of them, or none if one is no
    /// longer held.
    pub const fn extend(&self) -> Extend<'_, 'a, B> {
        Extend::new(&self.charge)
    }

    /// Corrects the charges to `actual`, a cost for each limit in the order in which they were
    /// named: charges the differences, as far as the keys have permits left or may owe them, and
    /// gives the rest back. Limits without a cost keep their charge. Permits in flight are given
    /// back whole.
    pub fn settle(self, actual: impl IntoIterator<Item = u64>) -> Settle<'a, B> {
        Settle::new(self.charge, actual.into_iter().collect())
    }

    /// Gives all of them back.
    pub fn refund(self) -> Settle<'a, B> {
        let limits = self.decision.each().len();
        self.settle(repeat_n(0, limits))
    }
}

/// Shows no key.
impl<B> fmt::Debug for Permits<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permits").field("decision", &self.decision).finish_non_exhaustive()
    }
}

/// Marks requests for the permits of one limit, which give a [`Permit`].
#[derive(Clone, Copy, Debug)]
pub struct One(());

/// Marks requests for the permits of several limits, which give [`Permits`].
#[derive(Clone, Copy, Debug)]
pub struct Several(());

pub(crate) use self::sealed::Acquired;

mod sealed {
    use super::{ApplyIfReady, Backend, Checks, Decisions, Denial, PreparedCheck};

    /// The permits that are charged by the decisions about checks. (Their lifetime is no part of the
    /// trait, so that a task that awaits them is `Send` whatever the lifetime.)
    #[expect(unnameable_types, reason = "sealed")]
    pub trait Acquired: 'static {
        type Permits<'a, B: 'a>;

        fn granted<'a, B: Backend>(
            checks: Checks<'a, B>,
            decisions: Decisions,
            apply: ApplyIfReady<B>,
        ) -> Self::Permits<'a, B>;

        /// Decisions that charge nothing.
        fn denied<B>(checks: &[PreparedCheck<'_, B>], decisions: Decisions) -> Denial;
    }
}

impl Acquired for One {
    type Permits<'a, B: 'a> = Permit<'a, B>;

    fn granted<'a, B: Backend>(
        checks: Checks<'a, B>,
        decisions: Decisions,
        apply: ApplyIfReady<B>,
    ) -> Permit<'a, B> {
        Permit(Charge::new(checks, &decisions, apply))
    }

    fn denied<B>(_: &[PreparedCheck<'_, B>], decisions: Decisions) -> Denial {
        Denial::One(decisions[0])
    }
}

impl Acquired for Several {
    type Permits<'a, B: 'a> = Permits<'a, B>;

    fn granted<'a, B: Backend>(
        checks: Checks<'a, B>,
        decisions: Decisions,
        apply: ApplyIfReady<B>,
    ) -> Permits<'a, B> {
        let decision = LimitsDecision::new(decisions.clone().into(), |index| &checks[index].policy);
        Permits { charge: Charge::new(checks, &decisions, apply), decision }
    }

    fn denied<B>(checks: &[PreparedCheck<'_, B>], decisions: Decisions) -> Denial {
        Denial::Together(LimitsDecision::new(decisions.into(), |index| &checks[index].policy))
    }
}
