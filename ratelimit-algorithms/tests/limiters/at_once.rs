//! A limiter on any store answers at once where the store does.

use std::{
    future::Future,
    num::NonZeroUsize,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use ratelimit_algorithms::{
    Backend, BackendError, CostError, Error, FixedWindow, Limiter, Limits, SyncBackend,
};
use ratelimit_backend::{ManualClock, Names, Reply};
use ratelimit_core::{Action, Batch, Micros, store::Decisions};
use ratelimit_memory::Memory;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A store that always has to be awaited.
struct Far<B>(B);

impl<B: Backend> Backend for Far<B> {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        Reply::waiting(async move { self.0.apply(batch, action).await })
    }

    fn names(&self) -> &Names {
        self.0.names()
    }
}

impl<B: SyncBackend> SyncBackend for Far<B> {
    fn apply_now(&self, batch: Batch<'_>, action: Action) -> Result<Decisions, BackendError> {
        self.0.apply_now(batch, action)
    }
}

#[test]
fn a_store_that_answers_at_once_needs_no_runtime() -> Outcome {
    let store: Arc<dyn Backend> = Arc::new(Memory::new());
    let limiter = Limiter::new(store, "daily", FixedWindow::per_day(3))?;
    let decision = limiter.check("key").cost(2).if_ready().ok_or("memory answers at once")??;
    assert_eq!((decision.is_allowed(), decision.remaining), (true, 1));
    let both = Limits::new(&limiter, "key", 1).and(&limiter, "other", 4);
    assert!(matches!(
        both.check().if_ready(),
        Some(Err(Error::Cost(CostError::ExceedsLimit { cost: 4, max: 3 })))
    ));
    let both = Limits::new(&limiter, "key", 1).and(&limiter, "other", 3).check().if_ready();
    assert!(both.ok_or("memory answers at once")??.is_allowed());
    let denied = limiter.check("key").if_ready().ok_or("memory answers at once")??;
    assert!(!denied.is_allowed());
    Ok(())
}

#[tokio::test]
async fn a_take_is_told_what_it_got_however_it_is_asked() -> Outcome {
    let store = Memory::with_clock(ManualClock::default(), NonZeroUsize::MIN);
    let near = Limiter::new(store, "daily", FixedWindow::per_day(10))?;
    assert_eq!(near.take("key", 4).now()?.charged(), 4);
    assert_eq!(near.take("key", 4).await?.charged(), 4);
    let last = near.take("key", 400).if_ready().ok_or("memory answers at once")??;
    assert_eq!((last.is_allowed(), last.charged(), last.remaining), (true, 2, 0));
    let denied = near.take("key", 400).now()?;
    assert_eq!((denied.is_allowed(), denied.charged()), (false, 0));
    assert_eq!(denied, near.check("key").now()?, "as a check of one permit");
    assert!(matches!(near.take("key", 0).now(), Err(Error::Cost(CostError::Zero))));

    let far = Limiter::new(Far(Memory::new()), "daily", FixedWindow::per_day(10))?;
    assert_eq!(far.take("key", 400).await?.charged(), 10, "more than the limit is the limit");
    assert!(!far.take("key", 400).await?.is_allowed());
    Ok(())
}

#[tokio::test]
async fn a_store_that_has_to_be_awaited_is_not_asked() -> Outcome {
    let limiter = Limiter::new(Far(Memory::new()), "daily", FixedWindow::per_day(3))?;
    assert!(limiter.check("key").cost(3).if_ready().is_none());
    assert!(Limits::new(&limiter, "key", 3).check().if_ready().is_none());
    assert!(limiter.check("key").cost(3).await?.is_allowed(), "nothing was charged");
    Ok(())
}

#[tokio::test]
async fn whatever_is_asked_a_store_that_is_awaited_answers_as_one_at_hand() -> Outcome {
    let (clock, keys_max) = (ManualClock::default(), NonZeroUsize::MIN);
    let store = || Memory::with_clock(clock.clone(), keys_max);
    let near = Limiter::new(store(), "daily", FixedWindow::per_day(9))?;
    let at_once = Limiter::new(store(), "daily", FixedWindow::per_day(9))?;
    let far = Limiter::new(Far(store()), "daily", FixedWindow::per_day(9))?;
    macro_rules! ask {
        ($($verb:ident($($argument:expr),*)$(.cost($cost:expr))?),* $(,)?) => {$(
            let expected = near.$verb("key" $(, $argument)*)$(.cost($cost))?.now()?;
            assert_eq!(at_once.$verb("key" $(, $argument)*)$(.cost($cost))?.await?, expected);
            assert_eq!(far.$verb("key" $(, $argument)*)$(.cost($cost))?.await?, expected);
            clock.advance(Micros::from_secs(1));
        )*};
    }
    let blocked = Duration::from_secs(2);
    ask!(check(), check().cost(3), penalize().cost(4), refund().cost(2), peek(), peek().cost(4));
    ask!(block(blocked), check(), reset());
    assert_eq!((near.name(), near.peek("key").now()?.remaining), (at_once.name(), 9));
    Ok(())
}

#[tokio::test]
async fn several_limits_are_looked_at_and_given_back_as_one_is() -> Outcome {
    let store = Far(Memory::new());
    let limiter = Limiter::new(store, "daily", FixedWindow::per_day(9))?;
    let both = || Limits::new(&limiter, "key", 2).and(&limiter, "other", 9);
    assert!(both().peek().await?.is_allowed(), "nothing was spent yet");
    let permits = both().acquire().await?;
    assert!(!both().peek().await?.is_allowed());
    assert!(permits.decision().is_allowed() && !format!("{permits:?}").contains("key"));
    permits.refund().await?;
    assert_eq!(limiter.peek("other").await?.remaining, 9);
    Ok(())
}

/// A drop awaits nothing, but a permit that was acquired on the calling thread is refunded there.
#[tokio::test]
async fn a_drop_refunds_in_the_way_in_which_the_permit_was_acquired() -> Outcome {
    let limiter = Limiter::new(Far(Memory::new()), "daily", FixedWindow::per_day(9))?;
    let both = || Limits::new(&limiter, "key", 2).and(&limiter, "other", 2);
    drop(limiter.acquire("key").cost(3).now()?.refund_on_drop());
    drop(both().acquire().now()?.refund_on_drop());
    assert_eq!(
        [limiter.peek("key").await?.remaining, limiter.peek("other").await?.remaining],
        [9; 2]
    );
    drop(limiter.acquire("key").cost(3).await?.refund_on_drop());
    drop(both().acquire().await?.refund_on_drop());
    assert_eq!(
        [limiter.peek("key").await?.remaining, limiter.peek("other").await?.remaining],
        [4, 7]
    );
    Ok(())
}

#[tokio::test]
async fn a_settlement_that_is_never_made_refunds_like_a_dropped_permit() -> Outcome {
    let limiter = Limiter::new(Memory::new(), "daily", FixedWindow::per_day(9))?;
    drop(limiter.acquire("key").cost(3).await?.settle(1));
    assert_eq!(limiter.peek("key").await?.remaining, 6);
    drop(limiter.acquire("key").cost(3).await?.refund_on_drop().settle(1));
    assert_eq!(limiter.peek("key").await?.remaining, 6);
    Ok(())
}

#[tokio::test]
async fn work_is_done_on_any_store_and_only_with_its_permits() -> Outcome {
    let limiter = Limiter::new(Far(Memory::new()), "daily", FixedWindow::per_day(3))?;
    let mut done = 0;
    assert_eq!(limiter.run("key", async || 7).cost(2).await?, 7);
    assert!(limiter.run("key", async || done += 1).cost(2).await.is_err());
    limiter.run("key", || done += 10).now()?;
    assert_eq!((done, limiter.peek("key").await?.remaining), (10, 0));
    Ok(())
}

/// Against the rules of futures, but nobody is to pay for that.
#[test]
fn a_check_that_is_polled_again_after_its_answer_charges_nothing() -> Outcome {
    let limiter = Limiter::new(Memory::new(), "daily", FixedWindow::per_day(3))?;
    let mut context = Context::from_waker(Waker::noop());
    let mut check = std::pin::pin!(limiter.check("key"));
    assert!(check.as_mut().poll(&mut context).is_ready());
    assert!(check.as_mut().poll(&mut context).is_pending());
    let charged = limiter.check("key").if_ready().ok_or("memory answers at once")??;
    assert_eq!(charged.remaining, 1);
    Ok(())
}

/// A guard of a lock cannot be sent, so a future that can holds none where it waits.
#[test]
// FAULTS 53.
fn a_check_can_go_to_another_thread_and_holds_no_lock_until_it_is_polled() -> Outcome {
    fn sendable<T: Send>(future: T) -> T {
        future
    }
    let limiter = Limiter::new(Memory::new(), "daily", FixedWindow::per_day(3))?;
    let awaited = limiter.clone();
    let far = Limiter::new(Far(Memory::new()), "daily", FixedWindow::per_day(3))?;
    let both = Limits::new(&awaited, "key", 1).and(&awaited, "other", 1);
    let unpolled = (
        sendable(awaited.check("key")),
        sendable(far.check("key").cost(2)),
        sendable(both.check()),
        sendable(awaited.acquire("key")),
    );
    assert_eq!(
        limiter.check("key").cost(3).now()?.remaining,
        0,
        "nobody holds the lock, or has charged"
    );
    drop(unpolled);
    Ok(())
}
