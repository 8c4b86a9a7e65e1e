//! The smallest change from one list to another.

use std::iter;

use ratelimit_core::store::words_beside_log;

use crate::encoding::{ENTRY_BYTES, Encoded, WORD_BYTES, WRAP, put, take_in_front, word};

/// A change that keeps some elements of a list, and replaces the others.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Edit {
    /// The indexes of the first and the last element that stay; `None` if none do. The head, which
    /// is at zero, never does.
    pub(crate) kept: Option<(usize, usize)>,
    /// The head, and the entries before those that stay.
    pub(crate) front: Vec<u8>,
    /// The entries behind those that stay.
    pub(crate) back: Vec<u8>,
}

impl Edit {
    /// The shortest change from a list that was found, flat, to `next`.
    ///
    /// A charge that is given back changes the running totals behind it, or, if the base takes up the
    /// difference, those before it. The shorter side is the one that changes.
    pub(crate) fn new(found: &[u8], next: Encoded) -> Self {
        let both = List::open(found).zip(List::open(&next.flat));
        let run = both.as_ref().and_then(|(old, new)| Run::longest(&old.charges(), &new.charges()));
        let (Some((old, mut new)), Some(run)) = (both, run) else {
            return Self { kept: None, front: next.flat, back: Vec::new() };
        };
        // Totals go on from those that stay.
        let shift = old.total_before(run.old).wrapping_sub(new.total_before(run.new));
        let totals = new.entries.iter_mut().map(|[_, total]| total).chain([&mut new.base]);
        totals.for_each(|total| *total = total.wrapping_add(shift) % WRAP);
        let (front, back) = new.entries.split_at(run.new);
        Self {
            kept: Some((run.old + 1, run.old + run.len)),
            front: new.flat(front),
            back: flat(&back[run.len..]),
        }
    }
}

/// A list, taken apart.
struct List<'a> {
    /// Together with what lies in front of it.
    header: &'a [u8],
    /// The running total before the first entry.
    base: u64,
    /// The rest of the head.
    rest: &'a [u8],
    /// The instant of each, and the running total up to and with it.
    entries: Vec<[u64; 2]>,
}

impl<'a> List<'a> {
    fn open(flat: &'a [u8]) -> Option<Self> {
        let mut plain = flat;
        take_in_front(&mut plain)?;
        let start = flat.len() - plain.len();
        let length = start + usize::from(*plain.first()?) + 1;
        let (header, words) = flat.split_at_checked(length)?;
        let beside = words_beside_log(header.get(start + 1..)?)?;
        let (base, words) = words.split_first_chunk()?;
        let (rest, entries) = words.split_at_checked(beside * WORD_BYTES)?;
        let (words, []) = entries.as_chunks() else { return None };
        let (pairs, []) = words.as_chunks() else { return None };
        let entries = pairs.iter().map(|pair: &[_; 2]| pair.each_ref().map(word)).collect();
        Some(Self { header, base: word(base), rest, entries })
    }

    /// The instant and the cost of each entry.
    fn charges(&self) -> Vec<[u64; 2]> {
        let cost = |index: usize| {
            let [at, total] = self.entries[index];
            [at, total.wrapping_sub(self.total_before(index)) % WRAP]
        };
        (0..self.entries.len()).map(cost).collect()
    }

    fn total_before(&self, index: usize) -> u64 {
        let before = index.checked_sub(1).and_then(|before| self.entries.get(before));
        before.map_or(self.base, |[_, total]| *total)
    }

    /// The head, and these entries.
    fn flat(&self, entries: &[[u64; 2]]) -> Vec<u8> {
        let mut base = Vec::new();
        put(&mut base, self.base);
        [self.header, &base, self.rest, &flat(entries)].concat()
    }
}

fn flat(entries: &[[u64; 2]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ENTRY_BYTES * entries.len());
    entries.as_flattened().iter().for_each(|&word| put(&mut bytes, word));
    bytes
}

/// Charges that two lists have in common: the first of them in each, and their number.
#[derive(Clone, Copy)]
struct Run {
    old: usize,
    new: usize,
    len: usize,
}

impl Run {
    /// The longer of two: the one that begins with the first charge that both have, and the one
    /// that ends with the last.
    fn longest(old: &[[u64; 2]], new: &[[u64; 2]]) -> Option<Self> {
        let find = |index: usize| {
            let at = new[index][0];
            Some((old.binary_search_by_key(&at, |[at, _]| *at).ok()?, index))
        };
        let is_same = |(old, new): &(&[u64; 2], &[u64; 2])| old == new;
        let first = (0..new.len()).find_map(find).map(|(from, index)| {
            let len = iter::zip(&old[from..], &new[index..]).take_while(is_same).count();
            Self { old: from, new: index, len }
        });
        let last = (0..new.len()).rev().find_map(find).map(|(to, index)| {
            let (old, new) = (&old[..=to], &new[..=index]);
            let len = iter::zip(old.iter().rev(), new.iter().rev()).take_while(is_same).count();
            Self { old: old.len() - len, new: new.len() - len, len }
        });
        first.into_iter().chain(last).filter(|run| 0 < run.len).max_by_key(|run| run.len)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fastrand::Rng;
    use ratelimit_core::{
        Action, Batch, Check, Key, Micros, Policy, Receipt, Timestamp, sliding_window_log,
        store::{Record, apply},
    };

    use super::*;
    use crate::encoding;

    /// Any action on logs of any length, at times that step back now and then.
    #[test]
    fn a_list_becomes_what_the_core_has_left_and_few_elements_move() {
        let quota = sliding_window_log::Quota::new(200, Duration::from_secs(60));
        let policy = Policy::new("log", quota.expect("in range")).expect("a good name");
        for seed in 0..20 {
            let mut random = Rng::with_seed(seed);
            let (mut record, mut list) = ([None], Vec::new());
            let (mut now, mut receipts) = (START, Vec::new());
            for step in 0..400 {
                now = match random.u8(..20) {
                    0 => now - Micros::new(1 << random.u32(..26)),
                    _ => now + Micros::new(1 << random.u32(..22)),
                };
                let action = match random.u8(..10) {
                    0 => Action::Refund,
                    1 => Action::Block(Micros::new(1 << random.u32(..20))),
                    2 => Action::Penalize,
                    _ => Action::Spend,
                };
                let receipt = random.choice(&receipts).copied().filter(|_| random.bool());
                let check = Check::new(&policy, Key::new(b"key").expect("it is short"), 1);
                let check = check.expect("it fits").with_receipt(receipt);
                let decisions = apply(Batch::one(&check), action, &mut record, now);
                let decision = decisions.expect("the policy stays the same")[0];
                receipts.push(Receipt::of(&decision, &policy, 1));
                let [Some(record)] = &record else { continue };

                let before = list.len();
                let (edited, moved) = edit(list, record);
                list = edited;
                let found = encoding::read(&list.concat(), None, &policy).expect("a list");
                // Running totals begin anywhere.
                let is_same = Encoded::new(&found).flat == Encoded::new(record).flat;
                assert!(is_same, "seed {seed}, step {step}: {action:?}");
                let most = if receipt.is_some() { before / 2 + 3 } else { 3 };
                assert!(moved <= most, "seed {seed}, step {step}: {action:?} moved {moved}");
            }
        }
    }

    /// The elements as a server has them after the change, and the number of those that were pushed.
    fn edit(mut list: Vec<Vec<u8>>, next: &Record) -> (Vec<Vec<u8>>, usize) {
        let next = Encoded::new(next);
        let length = next.head;
        let Edit { kept, front, back } = Edit::new(&list.concat(), next);
        let kept = kept.map_or_else(Vec::new, |(first, last)| list.drain(first..=last).collect());
        let (head, front) = front.split_at(length);
        let entries = |bytes: &[u8]| bytes.chunks(ENTRY_BYTES).map(<[u8]>::to_vec).collect();
        let (front, back): (Vec<_>, Vec<_>) = (entries(front), entries(&back));
        let moved = 1 + front.len() + back.len();
        ([vec![head.to_vec()], front, kept, back].concat(), moved)
    }

    const START: Timestamp = match Timestamp::from_micros(1_700_000_012_345_678) {
        Some(start) => start,
        None => unreachable!(),
    };
}
