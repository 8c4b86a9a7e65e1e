//! The attribute `#[rate_limit]` on all that it may stand on.
#![cfg(feature = "macros")]

use std::{error::Error, fmt::Display, sync::LazyLock};

use ratelimit_algorithms::{AcquireError, FixedWindow, Limiter, rate_limit};
use ratelimit_memory::Memory;

/// A limiter of so many permits a day.
fn daily(name: &str, limit: u64) -> Limiter<Memory> {
    Limiter::new(Memory::new(), name, FixedWindow::per_day(limit)).expect("the numbers are fine")
}

static TWICE: LazyLock<Limiter<Memory>> = LazyLock::new(|| daily("twice", 2));
static ASYNC: LazyLock<Limiter<Memory>> = LazyLock::new(|| daily("async", 2));

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
    let key = concat!(module_path!(), "::first");
    assert_eq!(TWICE.peek(key).now().unwrap().remaining, 0);
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

/// As the wrong span would be as good as none, the messages are compared whole.
#[test]
fn misuse_is_refused_where_it_stands() {
    trybuild::TestCases::new().compile_fail("tests/decorator/*.rs");
}
