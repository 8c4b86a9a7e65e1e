//! A decision that was serialised is the same when it is read again.
#![cfg(feature = "serde")]

use std::{error::Error, time::Duration};

use ratelimit_core::{
    Action, Batch, Check, Decision, Key, Micros, Policy, Source, Timestamp, store::apply,
    token_bucket,
};

#[test]
fn a_decision_comes_back_whole() -> Result<(), Box<dyn Error>> {
    let quota = token_bucket::Quota::new(10, 3, Duration::from_secs(7))?;
    let policy = Policy::new("api", quota)?;
    let check = Check::new(&policy, Key::new("user:42")?, 8)?;
    let mut record = [None];
    for _ in 0..2 {
        let now = Timestamp::from_micros(1_700_000_000_000_000).ok_or("a time in range")?;
        let decided = apply(Batch::one(&check), Action::Spend, &mut record, now)?[0];
        for decision in [decided, decided.with_source(Source::Local), decided.watched()] {
            let text = serde_json::to_string(&decision)?;
            let read: Decision = serde_json::from_str(&text)?;
            assert_eq!(read, decision, "{text}");
            assert_eq!(read.detail(&policy), decided.detail(&policy));
        }
    }
    Ok(())
}

#[test]
fn times_out_of_range_are_refused_or_saturate() {
    assert!(serde_json::from_str::<Timestamp>(&u64::MAX.to_string()).is_err());
    let longest = serde_json::from_str::<Micros>(&u64::MAX.to_string());
    assert_eq!(longest.ok(), Some(Micros::MAX));
}
