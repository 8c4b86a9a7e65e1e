//! Promises: a store answers as [`ratelimit_core::apply`] over a map does, field by field.
#![expect(missing_docs, reason = "a promise is its name")]

use ratelimit_core::{Action, Micros, Policy};

use crate::{Subject, reference::Reference, rules, subject::check, trace::Trace};

// FAULTS 38.
pub async fn fixed_windows_decide_as_the_core(subject: Subject) {
    agree(&subject, rules::fixed_windows).await;
}

pub async fn sliding_window_logs_decide_as_the_core(subject: Subject) {
    agree(&subject, rules::sliding_window_logs).await;
}

pub async fn sliding_window_counters_decide_as_the_core(subject: Subject) {
    agree(&subject, rules::sliding_window_counters).await;
}

pub async fn token_buckets_decide_as_the_core(subject: Subject) {
    agree(&subject, rules::token_buckets).await;
}

pub async fn leaky_buckets_decide_as_the_core(subject: Subject) {
    agree(&subject, rules::leaky_buckets).await;
}

pub async fn adaptive_hybrids_decide_as_the_core(subject: Subject) {
    agree(&subject, rules::adaptive_hybrids).await;
}

pub async fn shared_sensors_decide_as_the_core(subject: Subject) {
    agree(&subject, rules::shared_sensors).await;
}

pub async fn batches_decide_as_the_core(subject: Subject) {
    Trace::of(&subject).of_batches(&rules::one_of_each(10)).await;
}

/// Many keys, of which a part has gone stale whenever the next ones come, and all in the end.
pub async fn growing_stores_decide_as_the_core(subject: Subject) {
    let policies = rules::one_of_each(10);
    let mut reference = Reference::default();
    let step = Micros::new(3 * Micros::from_duration_ceil(rules::SPAN).as_micros());
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

/// Each policy alone, and all of them, as small ones spend up and large ones keep going.
async fn agree(subject: &Subject, policies: impl Fn(u64) -> Vec<Policy>) {
    Trace::of(subject).of_single_checks(&policies(10)).await;
}
