//! One caller, which waits for each answer.

use std::time::Instant;

use crate::{
    by_hand::ByHand,
    file::{Files, PLENTY, keys, open},
    row::{Effort, Reach, Row, Samples},
};

pub(crate) fn allowed(name: &str, effort: Effort) -> Vec<Row> {
    measure(name, effort, PLENTY, Reach::Ratio(0.85))
}

/// The only permit of each key is spent before.
pub(crate) fn denied(name: &str, effort: Effort) -> Vec<Row> {
    measure(name, effort, 1, Reach::Ratio(1.5))
}

fn measure(name: &str, effort: Effort, capacity: u64, reach: Reach) -> Vec<Row> {
    let (files, keys) = (Files::new(), keys());
    let limiter = open(&files.ours(), capacity);
    let by_hand = ByHand::open(&files.theirs(), capacity as f64);
    let ask_ours = |key: &str| limiter.check(key).unwrap().is_allowed();
    let ask_theirs = |key: &str| by_hand.check(key);
    for key in &keys {
        assert!(ask_ours(key) && ask_theirs(key));
    }

    let is_allowed = 1 < capacity;
    let rate = |ask: &dyn Fn(&str) -> bool| {
        let (start, mut asked) = (Instant::now(), 0.0);
        while start.elapsed() < effort.length {
            for key in keys.iter().take(100) {
                assert_eq!(ask(key), is_allowed);
                asked += 1.0;
            }
        }
        asked / start.elapsed().as_secs_f64()
    };
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for _ in 0..effort.rounds {
        ours.push(rate(&ask_ours));
        theirs.push(rate(&ask_theirs));
    }
    vec![Row {
        name: name.to_owned(),
        unit: "decisions/s",
        ours,
        beside: "BEGIN IMMEDIATE, SELECT, UPSERT, COMMIT",
        theirs,
        reach,
    }]
}
