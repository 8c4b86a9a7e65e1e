//! The attribute `#[rate_limit]` on all that it may stand on, and what compilers say of misuse.
#![cfg(feature = "macros")]
// Nothing that the attribute adds is to be seen by any lint.
#![warn(clippy::pedantic)]

use std::{
    error::Error,
    fmt::Display,
    pin::Pin,
    sync::LazyLock,
    task::{Context, Waker},
};

use ratelimit_algorithms::{AcquireError, FixedWindow, InFlight, Limiter, rate_limit};
use ratelimit_memory::Memory;

/// A limiter of so many permits a day.
fn daily(name: &str, limit: u64) -> Limiter<Memory> {
    Limiter::new(Memory::new(), name, FixedWindow::per_day(limit)).expect("the numbers are fine")
}

static TWICE: LazyLock<Limiter<Memory>> = LazyLock::new(|| daily("twice", 2));
static ASYNC: LazyLock<Limiter<Memory>> = LazyLock::new(|| daily("async", 2));

static HELD: LazyLock<Limiter<Memory>> = LazyLock::new(|| {
    Limiter::new(Memory::new(), "held", InFlight::limit(2)).expect("the numbers are fine")
});

/// The permits of `key` that nobody holds.
fn free(key: &str) -> u64 {
    HELD.peek(key).now().expect("the store decides").remaining
}

#[test]
fn permits_in_flight_are_held_while_the_body_runs() {
    #[rate_limit(limiter = HELD, key = name)]
    fn nest(name: String, depth: u32) -> Result<String, AcquireError> {
        assert_eq!(free(&name), u64::from(depth));
        if depth == 0 {
            return Ok(name);
        }
        nest(name, depth - 1)
    }
    #[rate_limit(limiter = HELD, key = "none", cost = cost, on_limit = "none")]
    fn optional(cost: u64) -> Option<u64> {
        Some(free("none"))
    }
    #[rate_limit(limiter = HELD, key = "panics")]
    fn panics() -> Result<(), AcquireError> {
        panic!("unlucky")
    }

    for _ in 0..2 {
        assert_eq!(nest("sync".to_owned(), 1).unwrap(), "sync");
        assert_eq!(free("sync"), 2);
    }
    let third = HELD.acquire("sync").cost(2).now().unwrap();
    assert!(nest("sync".to_owned(), 1).is_err());
    drop(third);
    assert_eq!([0, 1, 2].map(optional), [Some(2), Some(1), Some(0)]);
    assert!(std::panic::catch_unwind(panics).is_err());
    assert_eq!(["sync", "none", "panics"].map(free), [2; 3]);
}

#[tokio::test]
async fn permits_in_flight_are_held_until_a_future_has_ended_or_is_dropped() {
    #[rate_limit(limiter = HELD, key = "async")]
    async fn wait() -> Result<u64, AcquireError> {
        tokio::task::yield_now().await;
        Ok(free("async"))
    }
    #[rate_limit(limiter = HELD, key = "async", cost = 2)]
    fn boxed<'a>() -> Pin<Box<dyn Future<Output = Result<u64, AcquireError>> + Send + 'a>> {
        Box::pin(wait())
    }

    let mut waiting = Box::pin(wait());
    let context = &mut Context::from_waker(Waker::noop());
    assert!(waiting.as_mut().poll(context).is_pending());
    assert_eq!((free("async"), wait().await.unwrap()), (1, 0));
    drop(waiting);
    assert_eq!(free("async"), 2);
    assert!(boxed().await.is_err(), "it holds what the inner one needs");
    assert_eq!((wait().await.unwrap(), free("async")), (1, 2));
}

#[test]
fn a_function_is_called_as_often_as_its_key_has_permits() {
    #[rate_limit(limiter = TWICE, key = format!("export:{user}"))]
    fn export(user: u32) -> Result<u32, AcquireError> {
        Ok(user)
    }

    assert_eq!([export(1).unwrap(), export(1).unwrap(), export(2).unwrap()], [1, 1, 2]);
    let denied = export(1).unwrap_err();
    assert!(denied.retry_after().is_some(), "a denial says when to come back");
    assert_eq!(export(2).unwrap(), 2);
}

#[test]
fn a_function_without_a_key_has_one_for_all_callers_and_for_itself_alone() {
    #[rate_limit(limiter = TWICE)]
    fn first() -> Result<(), AcquireError> {
        Ok(())
    }
    #[rate_limit(limiter = TWICE)]
    fn second() -> Result<(), AcquireError> {
        Ok(())
    }

    assert!(first().is_ok() && first().is_ok() && first().is_err());
    assert!(second().is_ok());
}

// FAULTS 241.
#[test]
fn functions_of_one_name_do_not_share_a_key() {
    struct P;
    struct Q<T>(T);

    trait Twice {
        fn call(&self) -> Result<(), AcquireError>;
    }
    impl Twice for P {
        #[rate_limit(limiter = TWICE, cost = 2)]
        fn call(&self) -> Result<(), AcquireError> {
            Ok(())
        }
    }
    impl<T> Twice for Q<T> {
        #[rate_limit(limiter = TWICE, cost = 2)]
        fn call(&self) -> Result<(), AcquireError> {
            Ok(())
        }
    }
    impl P {
        #[rate_limit(limiter = TWICE, cost = 2)]
        fn call(&self) -> Result<(), AcquireError> {
            let Self = self;
            Ok(())
        }

        fn outer() -> Result<(), AcquireError> {
            #[rate_limit(limiter = TWICE, cost = 2)]
            fn call() -> Result<(), AcquireError> {
                Ok(())
            }
            call()
        }
    }
    #[rate_limit(limiter = TWICE, cost = 2)]
    fn r#type() -> Result<(), AcquireError> {
        Ok(())
    }

    for round in [true, false] {
        assert_eq!(Twice::call(&P).is_ok(), round);
        assert_eq!(P.call().is_ok(), round);
        assert_eq!(P::outer().is_ok(), round);
        assert_eq!(r#type().is_ok(), round);
    }
    assert!(Q(1).call().is_ok());
    assert!(Q("text").call().is_err(), "one method, whatever its type parameter");
}

// FAULTS 241.
#[test]
fn a_call_that_costs_nothing_does_not_ask() {
    #[rate_limit(limiter = TWICE, key = "free", cost = cost)]
    fn print(cost: u64) -> Result<u64, AcquireError> {
        Ok(cost)
    }

    assert_eq!([print(2).unwrap(), print(0).unwrap()], [2, 0]);
    assert!(print(1).is_err());
    assert_eq!(print(0).unwrap(), 0);
}

#[test]
fn a_call_spends_what_it_costs() {
    #[rate_limit(limiter = TWICE, key = "costly", cost = pages / 10)]
    fn print(pages: u64) -> Result<u64, AcquireError> {
        Ok(pages)
    }

    assert_eq!(print(20).unwrap(), 20);
    assert!(print(10).is_err());
    assert!(matches!(print(30), Err(AcquireError::Failed(_))), "three never fit");
}

#[test]
fn the_error_becomes_that_of_the_function() {
    #[derive(Debug)]
    struct Busy(AcquireError);

    impl From<AcquireError> for Busy {
        fn from(error: AcquireError) -> Self {
            Self(error)
        }
    }

    #[rate_limit(limiter = TWICE, key = "own error", cost = 2)]
    fn own() -> Result<(), Busy> {
        Ok(())
    }
    #[rate_limit(limiter = TWICE, key = "boxed error", cost = 2)]
    fn boxed() -> Result<(), Box<dyn Error>> {
        Ok(())
    }

    assert!(own().is_ok() && boxed().is_ok());
    assert!(matches!(own(), Err(Busy(AcquireError::Denied(_)))));
    assert!(boxed().unwrap_err().is::<AcquireError>());
}

#[test]
fn a_function_may_return_none_instead() {
    #[rate_limit(limiter = TWICE, key = "none", cost = 2, on_limit = "none")]
    fn lucky() -> Option<u8> {
        Some(7)
    }

    assert_eq!([lucky(), lucky()], [Some(7), None]);
}

#[test]
fn a_method_uses_the_limiter_of_its_own_object() {
    struct Mailer<L> {
        limiter: L,
        sent: u32,
    }

    impl Mailer<Limiter<Memory>> {
        #[rate_limit(limiter = self.limiter, key = to)]
        fn send<'a, T>(&mut self, to: &'a str, body: T) -> Result<&'a str, AcquireError>
        where
            T: Display,
        {
            self.sent += u32::from(!body.to_string().is_empty());
            Ok(to)
        }
    }

    let mut mailer = Mailer { limiter: daily("mails", 1), sent: 0 };
    assert_eq!(mailer.send("a", 1).unwrap(), "a");
    assert!(mailer.send("a", 2).is_err());
    assert_eq!(mailer.send("b", 3).unwrap(), "b");
    assert_eq!(mailer.sent, 2, "the body runs for those alone that are admitted");
}

#[tokio::test]
async fn an_async_function_awaits_its_limiter() {
    #[rate_limit(limiter = ASYNC, key = user)]
    async fn fetch(user: &str) -> Result<usize, AcquireError> {
        tokio::task::yield_now().await;
        Ok(user.len())
    }

    assert_eq!(fetch("ann").await.unwrap(), 3);
    assert_eq!(tokio::spawn(fetch("ann")).await.unwrap().unwrap(), 3, "its future is Send");
    assert!(fetch("ann").await.is_err());
}

/// The body is as `#[async_trait]` leaves it.
// FAULTS 241.
#[tokio::test]
async fn a_function_that_returns_a_future_returns_one_that_acquires_first() {
    struct Service {
        limiter: Limiter<Memory>,
    }

    #[async_trait::async_trait]
    trait Call {
        async fn call(&mut self, name: &str) -> Result<usize, AcquireError>;
    }
    #[async_trait::async_trait]
    impl Call for Service {
        #[rate_limit(limiter = self.limiter, key = name)]
        async fn call(&mut self, name: &str) -> Result<usize, AcquireError> {
            tokio::task::yield_now().await;
            Ok(name.len())
        }
    }
    impl Service {
        #[rate_limit(limiter = self.limiter, key = "plain")]
        fn plain(&self) -> impl Future<Output = Result<u8, AcquireError>> + Send {
            std::future::ready(Ok(7))
        }

        #[rate_limit(limiter = self.limiter, key = "boxed", on_limit = "none")]
        fn boxed(&self) -> Pin<Box<dyn Future<Output = Option<u8>> + Send + '_>> {
            Box::pin(async { Some(7) })
        }
    }

    let mut service = Service { limiter: daily("futures", 1) };
    assert_eq!(service.call("ann").await.unwrap(), 3);
    assert!(service.call("ann").await.is_err());
    assert_eq!(service.plain().await.unwrap(), 7);
    assert!(service.plain().await.is_err());
    assert_eq!([service.boxed().await, service.boxed().await], [Some(7), None]);
}

// FAULTS 241.
#[rate_limit(limiter = ASYNC, key = "above")]
#[tokio::test]
async fn it_may_stand_above_an_attribute_of_tokio() -> Result<(), AcquireError> {
    tokio::task::yield_now().await;
    assert_eq!(ASYNC.peek("above").await?.remaining, 1);
    Ok(())
}

// FAULTS 241.
#[tokio::test]
#[rate_limit(limiter = ASYNC, key = "below")]
async fn it_may_stand_below_an_attribute_of_tokio() -> Result<(), AcquireError> {
    tokio::task::yield_now().await;
    assert_eq!(ASYNC.peek("below").await?.remaining, 1);
    Ok(())
}
