//! Live configuration costs limits that never change nothing.

use std::{borrow::Cow, sync::Arc};

use ratelimit_algorithms::{Limiter, Policy, TokenBucket};
use ratelimit_memory::Memory;

use crate::Outcome;

#[test]
fn a_limiter_whose_numbers_stay_is_its_store_its_policy_and_its_name() -> Outcome {
    assert_eq!(size_of::<Limiter<Memory>>(), size_of::<(Memory, Policy, Arc<()>)>());
    let limiter = Limiter::new(Memory::new(), "api", TokenBucket::per_second(10))?;
    assert!(matches!(limiter.policy("key"), Cow::Borrowed(_)), "nothing is copied for a check");
    Ok(())
}
