//! A configuration is refused, or gives a valid policy.

use std::{collections::BTreeMap, str::FromStr};

use ratelimit_algorithms::{Rule, TokenBucket};
use ratelimit_core::{Action, Algorithm, Batch, Check, Key, Policy, Timestamp, store::apply};

/// Takes the bytes for a limit in words, and for a file of limits in either format.
pub fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(Ok(algorithm)) = TokenBucket::from_str(text).ok().map(Algorithm::try_from) {
        honour(&Policy::new("policy", algorithm).expect("the name is good"));
    }
    let json = serde_json::from_str::<BTreeMap<String, Rule>>(text).unwrap_or_default();
    let toml = toml::from_str::<BTreeMap<String, Rule>>(text).unwrap_or_default();
    let rules = json.into_values().chain(toml.into_values());
    rules.for_each(|rule| honour(&rule.policy("policy").expect("the name is good")));
}

/// Whatever the numbers, all of a new key's permits can be spent at once, or at its own pace.
fn honour(policy: &Policy) {
    for (cost, now) in [(1, 0), (policy.limit(), Timestamp::MAX.as_micros())] {
        let check = Check::new(policy, Key::new("key").expect("it is short"), cost)
            .expect("it is within the limit");
        let batch = Batch::one(&check);
        let mut records: Vec<_> = batch.slots().map(|_| None).collect();
        let now = Timestamp::from_micros(now).expect("it is not beyond the last");
        let decisions = apply(batch, Action::Spend, &mut records, now).expect("nothing is stored");
        assert!(decisions.iter().all(|decision| decision.remaining <= policy.limit()));
    }
}
