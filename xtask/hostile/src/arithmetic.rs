//! Every decision agrees with that of the model, which computes with integers of any size.

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use crate::{agreement::agrees_with_the_model, rule, trace::history};

/// Draws a policy and a history of a key from the bytes, as the tests do from chance.
pub fn arithmetic(data: &[u8]) {
    let chance = TestRng::from_seed(RngAlgorithm::PassThrough, &prolonged(data));
    let mut runner = TestRunner::new_with_rng(Config::default(), chance);
    let Ok(drawn) = (rule::any(), history()).new_tree(&mut runner) else { return };
    let (rule, history) = drawn.current();
    if let Err(difference) = agrees_with_the_model(&rule, &history) {
        panic!("{difference}\n{rule:?}\n{history:?}");
    }
}

/// What the bytes do not decide is drawn from others, always the same: behind the end there are
/// only zeros, and of those some draws would be made again for ever.
fn prolonged(data: &[u8]) -> Vec<u8> {
    let others = (1..=8_192_u64).flat_map(|number| number.wrapping_mul(ODD).to_le_bytes());
    data.iter().copied().chain(others).collect()
}

/// 2^64 by the golden ratio: its multiples are spread evenly.
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
