//! The settlement of a charge: unused permits are given back, missing ones are charged.

use std::{
    fmt,
    future::Future,
    mem::take,
    pin::Pin,
    task::{Context, Poll},
};

use ratelimit_backend::{Backend, BackendError, ErrorKind, SyncBackend};
use ratelimit_core::{Action, Decision};
use smallvec::SmallVec;

use crate::{Error, charge::Charge, prepared::batch, progress::Progress};

/// The settlement of a [`Permit`](crate::Permit), or of [`Permits`](crate::Permits): awaited, or made with
/// [`now`](Self::now).
#[must_use = "nothing is settled unless this is awaited, or made with `now`"]
pub struct Settle<'a, B> {
    /// Until it is polled.
    charge: Option<Charge<'a, B>>,
    actual: SmallVec<[u64; 1]>,
    progress: Progress<'a, Result<(), Error>>,
}

impl<'a, B> Settle<'a, B> {
    pub(crate) fn new(charge: Charge<'a, B>, actual: SmallVec<[u64; 1]>) -> Self {
        Self { charge: Some(charge), actual, progress: Progress::New }
    }
}

impl<B: Backend> Settle<'_, B> {
    /// Settles on the calling thread. On a store that has to be awaited this does not compile.
    ///
    /// # Errors
    ///
    /// As awaiting the settlement.
    pub fn now(mut self) -> Result<(), Error>
    where
        B: SyncBackend,
    {
        let Some(mut charge) = self.charge.take() else { return Ok(()) };
        charge.keep();
        let settlement = charge.settlement(self.actual.iter().copied())?;
        for action in SETTLING {
            if let checks @ [_, ..] = &*settlement.checks(action)? {
                charge.backend().apply_now(batch(checks), action)?;
            }
        }
        settlement.wake();
        drop(settlement);
        charge.forget();
        Ok(())
    }
}

/// Fails if the store may not have done it. Missing permits are charged first.
impl<B: Backend> Future for Settle<'_, B> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { charge, actual, progress } = &mut *self;
        progress.poll(context, || settle(charge.take(), take(actual)))
    }
}

/// The charge is moved before it is settled.
impl<B> Unpin for Settle<'_, B> {}

async fn settle<B: Backend>(
    charge: Option<Charge<'_, B>>,
    actual: SmallVec<[u64; 1]>,
) -> Result<(), Error> {
    let Some(mut charge) = charge else { return Ok(()) };
    charge.keep();
    let settlement = charge.settlement(actual.iter().copied())?;
    for action in SETTLING {
        if let checks @ [_, ..] = &*settlement.checks(action)? {
            charge.backend().apply(batch(checks), action).await?;
        }
    }
    settlement.wake();
    drop(settlement);
    charge.forget();
    Ok(())
}

/// The extension of a [`Permit`](crate::Permit) in flight, or of [`Permits`](crate::Permits): awaited, or
/// made with [`now`](Self::now).
#[must_use = "nothing is extended unless this is awaited, or made with `now`"]
pub struct Extend<'p, 'a, B> {
    charge: &'p Charge<'a, B>,
    progress: Progress<'p, Result<bool, Error>>,
}

impl<'p, 'a, B> Extend<'p, 'a, B> {
    pub(crate) const fn new(charge: &'p Charge<'a, B>) -> Self {
        Self { charge, progress: Progress::New }
    }
}

impl<B: Backend> Extend<'_, '_, B> {
    /// Extends on the calling thread. On a store that has to be awaited this does not compile.
    ///
    /// # Errors
    ///
    /// As awaiting the extension.
    pub fn now(self) -> Result<bool, Error>
    where
        B: SyncBackend,
    {
        let extension = self.charge.extension()?;
        match &*extension.checks(Action::Extend)? {
            [] => Ok(true),
            checks => are_held(&self.charge.backend().apply_now(batch(checks), Action::Extend)?),
        }
    }
}

/// Fails if the store may not have done it.
impl<B: Backend> Future for Extend<'_, '_, B> {
    type Output = Result<bool, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { charge, ref mut progress } = *self;
        progress.poll(context, || extend(charge))
    }
}

async fn extend<B: Backend>(charge: &Charge<'_, B>) -> Result<bool, Error> {
    let extension = charge.extension()?;
    match &*extension.checks(Action::Extend)? {
        [] => Ok(true),
        checks => are_held(&charge.backend().apply(batch(checks), Action::Extend).await?),
    }
}

fn are_held(decisions: &[Decision]) -> Result<bool, Error> {
    match decisions {
        [] => Err(BackendError::unknown(ErrorKind::Protocol).into()),
        decisions => Ok(decisions.iter().all(Decision::is_allowed)),
    }
}

impl<B> fmt::Debug for Extend<'_, '_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extend").finish_non_exhaustive()
    }
}

/// Charges come first: if the refund fails, too little was given back, and not too much.
const SETTLING: [Action; 2] = [Action::Penalize, Action::Refund];

impl<B> fmt::Debug for Settle<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settle").field("actual", &self.actual).finish_non_exhaustive()
    }
}
