//! Promises: a store answers as [`ratelimit_core::store::apply`] over a map does, field by field.
#![expect(missing_docs, reason = "a promise is its name")]

use ratelimit_core::{Action, Micros};

use crate::{
    Subject,
    generators::{self, Draw},
    policies,
    reference::Reference,
    store_under_test::check,
    traces::Trace,
};

// FAULTS 2, 38, 166.
pub async fn fixed_windows_decide_as_the_core(subject: Subject) {
    agree(&subject, generators::fixed_window).await;
}

// FAULTS 2, 38, 166.
pub async fn sliding_window_logs_decide_as_the_core(subject: Subject) {
    agree(&subject, generators::sliding_window_log).await;
}

// FAULTS 2, 38, 166.
pub async fn sliding_window_counters_decide_as_the_core(subject: Subject) {
    agree(&subject, generators::sliding_window_counter).await;
}

// FAULTS 2, 38, 166.
pub async fn token_buckets_decide_as_the_core(subject: Subject) {
    agree(&subject, generators::token_bucket).await;
}

// FAULTS 2, 38, 166.
pub async fn leaky_buckets_decide_as_the_core(subject: Subject) {
    agree(&subject, generators::leaky_bucket).await;
}

// FAULTS 2, 38, 166.
pub async fn adaptive_hybrids_decide_as_the_core(subject: Subject) {
    agree(&subject, generators::adaptive_hybrid).await;
}

// FAULTS 166.
pub async fn batches_decide_as_the_core(subject: Subject) {
    Trace::of(&subject).through(&generators::ONE_OF_EACH, &generators::ANY_CARRY_OVER, 5).await;
}

/// Logs of hundreds of entries, of which a store may read and write a part.
// FAULTS 2, 38, 166.
pub async fn long_logs_decide_as_the_core(subject: Subject) {
    Trace::of(&subject).along(&generators::LONG_LOGS, &generators::ANY_CARRY_OVER).await;
}

async fn agree(subject: &Subject, draw: Draw) {
    Trace::of(subject).through(&[draw], &generators::ANY_CARRY_OVER, 1).await;
}

/// Many keys, of which a part has gone stale whenever the next ones come, and all in the end.
pub async fn growing_stores_decide_as_the_core(subject: Subject) {
    let policies = policies::one_of_each(10);
    let mut reference = Reference::default();
    let step = Micros::new(3 * Micros::from_duration_ceil(policies::SPAN).as_micros());
    let step = Micros::new(step.as_micros() / subject.effort.keys.max(1));
    for round in 0..2 {
        for index in 0..subject.effort.keys {
            let policy = &policies[usize::try_from(index).expect("an index") % policies.len()];
            let key = index.to_string();
            let found = subject.spend(policy, &key, 1).await;

            let check = [check(policy, key.as_bytes(), 1)];
            let batch = ratelimit_core::Batch::one(&check[0]);
            let wanted = reference.apply(batch, Action::Spend, subject.now());
            assert_eq!(wanted.as_deref().ok(), Some(&[found][..]), "round {round}, key {index}");
            subject.advance(step);
        }
    }
}
