//! A block denies until exactly its end, and leaves all else as it was.

use proptest::prelude::*;
use ratelimit_core::{Action, WINDOW_MAX, store::Record};

use crate::{
    key_under_test::{Subject, reset_after, retry_after},
    rule::{self, share_of},
    trace::{history, shares, spending, worn},
};

proptest! {
    #[test]
    fn a_block_denies_until_it_is_over(
        rule in rule::any(),
        history in history(),
        share in shares(),
        length in lengths(),
        within in 0_u64..=1_000_000,
    ) {
        let (mut subject, now) = worn(&rule, &history);
        let cost = 1 + share_of(subject.limit() - 1, share);
        let blocked = subject.block(now, length);
        prop_assert!(blocked.is_allowed());
        prop_assert_eq!(blocked.remaining, 0);
        prop_assert!(length <= reset_after(&blocked));

        let then = now + share_of(length - 1, within);
        let denial = subject.spend(then, cost);
        let wait = retry_after(&denial);
        prop_assert!(!denial.is_allowed() && now + length <= then + wait);
        prop_assert!(blocked.is_blocked() && denial.is_blocked());
        prop_assert!(!subject.clone().spend(then + wait - 1, cost).is_allowed());
        let admitted = subject.spend(then + wait, cost);
        prop_assert!(admitted.is_allowed() && !admitted.is_blocked());
    }

    #[test]
    fn what_is_beneath_a_block_goes_on_as_if_there_were_none(
        rule in rule::any(),
        history in spending(),
        share in shares(),
        length in lengths(),
        within in 0_u64..=1_000_000,
        later in 0_u64..=1_000_000,
    ) {
        let (mut subject, now) = worn(&rule, &history);
        let cost = 1 + share_of(subject.limit() - 1, share);
        let free = subject.clone();
        let _ = subject.block(now, length);
        for at in [now, now + share_of(length - 1, within), now + length - 1] {
            prop_assert!(!subject.spend(at, cost).is_allowed());
        }
        for at in [now + length, now + length + share_of(rule.span(), later)] {
            let (blocked, free) = (subject.peek(at, cost), free.peek(at, cost));
            // A key that starts low is known while it is blocked: it fills, and is not forgotten.
            prop_assert!(blocked == free || rule.starts_low() && free.remaining <= blocked.remaining);
        }
    }

    #[test]
    fn of_two_blocks_the_one_that_lasts_longer_counts(
        rule in rule::any(),
        history in history(),
        lengths in [lengths(), lengths()],
        between in 0_u64..=1_000_000,
    ) {
        let (mut subject, now) = worn(&rule, &history);
        let _ = subject.reset(now);
        let then = now + share_of(lengths[0], between);
        let _ = subject.block(now, lengths[0]);
        let _ = subject.block(then, lengths[1]);
        let end = (now + lengths[0]).max(then + lengths[1]);
        let denied = subject.peek(end - 1, 1);
        prop_assert!(!denied.is_allowed());
        prop_assert_eq!(denied.remaining, 0);
        prop_assert!(subject.peek(end - 1 + retry_after(&denied), 1).is_allowed());
        prop_assert!(rule.starts_low() || retry_after(&denied) == 1);
    }

    #[test]
    fn a_block_lasts_no_longer_when_the_clock_steps_back(
        rule in rule::any(),
        history in history(),
        length in lengths(),
        back in 0_u64..=1 << 40,
    ) {
        let (mut subject, now) = worn(&rule, &history);
        let _ = subject.reset(now);
        let _ = subject.block(now, length);
        let earlier = now.saturating_sub(back);
        prop_assert!(!subject.spend(earlier, 1).is_allowed(), "nor does it end");
        let denied = subject.peek(earlier + length - 1, 1);
        prop_assert!(!denied.is_allowed());
        prop_assert!(subject.peek(earlier + length - 1 + retry_after(&denied), 1).is_allowed());
        prop_assert!(rule.starts_low() || retry_after(&denied) == 1);
    }

    #[test]
    fn a_blocked_key_survives_as_bytes(
        rule in rule::any(),
        history in history(),
        share in shares(),
        length in lengths(),
        within in 0_u64..=2_000_000,
    ) {
        let (mut subject, now) = worn(&rule, &history);
        let cost = 1 + share_of(subject.limit() - 1, share);
        let _ = subject.block(now, length);
        let record = subject.record.as_ref().expect("a block is kept");
        let read = Record::decode(&record.encode(), &subject.policy).unwrap();
        prop_assert_eq!(read.encode(), record.encode());
        let mut read = Subject { record: Some(read), ..subject.clone() };
        let then = now + share_of(length, within);
        prop_assert_eq!(read.spend(then, cost), subject.spend(then, cost));
    }

    #[test]
    fn a_block_is_kept_for_as_long_as_it_lasts(
        rule in rule::any(),
        history in history(),
        length in lengths(),
    ) {
        let (mut subject, now) = worn(&rule, &history);
        let _ = subject.block(now, length);
        prop_assert!(length <= subject.lifetime(now));
    }
}

/// Of any size.
fn lengths() -> impl Strategy<Value = u64> {
    let longest = WINDOW_MAX.as_micros();
    prop_oneof![1_u64..=20, 1_u64..=10_000_000, 1..=longest, Just(longest)]
}

#[test]
fn a_block_of_no_length_is_none_and_a_reset_ends_any() {
    for rule in rule::one_of_each() {
        let (mut subject, now) = (Subject::new(&rule), 1_700_000_000_000_000);
        let fresh = subject.peek(now, 1);
        assert_eq!(subject.block(now, 0).remaining, fresh.remaining, "{rule:?}");
        assert_eq!(subject.peek(now, 1), fresh, "{rule:?}");

        let blocked = subject.block(now, u64::MAX);
        assert_eq!(reset_after(&blocked), WINDOW_MAX.as_micros(), "{rule:?}: no longer than this");
        assert!(!subject.spend(now, 1).is_allowed(), "{rule:?}");
        let _ = subject.act(Action::Reset, now, 1);
        assert_eq!(subject.peek(now, 1), fresh, "{rule:?}");
    }
}
