//! The value under a key: a record as bytes that a script can take apart.
//!
//! ```text
//! length of the header · header · words, seven bytes each, the greatest first
//! ```
//!
//! States under earlier numbers, if there are any, come in front, and scripts leave them there:
//!
//! ```text
//! 255 · the instants from which, and until which they count, seven bytes each
//!     · length of the rest, two bytes · the rest of their words
//! ```
//!
//! Header and words are those of [`ratelimit_core`]'s exchange of records, but for logs: their
//! words come last, and are a list's elements in the server. Its head ends with the words of the
//! rest, and each entry is an instant and the running total of all costs up to and with its own,
//! so that the cost of any stretch is one subtraction. Totals wrap at 2^52, and so need never
//! start anew.

use std::{iter, mem};

use ratelimit_core::{
    Policy, StateError,
    store::{Record, words_beside_log},
};

/// A record as bytes.
pub(crate) struct Encoded {
    /// The value; of a list, its elements end to end.
    pub(crate) flat: Vec<u8>,
    /// The length of a list's head; zero if this is no list.
    pub(crate) head: usize,
}

impl Encoded {
    pub(crate) fn new(record: &Record) -> Self {
        let header = record.header();
        let mut words = record.words();
        let entries = words_beside_log(&header).map(|_| take_entries(&mut words));

        let mut flat = in_front(&record.earlier());
        flat.extend(framed(&header));
        let Some(entries) = entries else {
            words.into_iter().for_each(|word| put(&mut flat, word));
            return Self { flat, head: 0 };
        };
        iter::once(BASE).chain(words).for_each(|word| put(&mut flat, word));
        let head = flat.len();
        let mut total = BASE;
        let mut at = 0;
        for &[since, cost] in entries.as_chunks().0 {
            at += since;
            total = (total + cost) % WRAP;
            [at, total].into_iter().for_each(|word| put(&mut flat, word));
        }
        Self { flat, head }
    }
}

/// The words of states under earlier numbers, framed.
fn in_front(words: &[u64]) -> Vec<u8> {
    let Some((times, rest)) = words.split_first_chunk::<2>() else { return Vec::new() };
    let (times, rest) = (packed(times.iter().copied()), packed(rest.iter().copied()));
    let length = u16::try_from(rest.len()).expect("four states of some hundred words at most");
    [&[EARLIER], &times[..], &length.to_be_bytes(), &rest].concat()
}

/// Takes the words of states under earlier numbers off the front of a value, if there are any.
pub(crate) fn take_in_front(flat: &mut &[u8]) -> Option<Vec<u64>> {
    let Some(rest) = flat.strip_prefix(&[EARLIER]) else { return Some(Vec::new()) };
    let (times, rest) = rest.split_at_checked(2 * WORD_BYTES)?;
    let (length, rest) = rest.split_first_chunk()?;
    let (words_left, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    *flat = rest;
    Some([words(times)?, words(words_left)?].concat())
}

/// The header as it is stored, and compared.
pub(crate) fn framed(header: &[u8]) -> Vec<u8> {
    let length = u8::try_from(header.len()).expect("a header has a dozen short numbers at most");
    [&[length], header].concat()
}

/// Words as scripts read them.
pub(crate) fn packed(words: impl Iterator<Item = u64>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(words.size_hint().0 * WORD_BYTES);
    words.for_each(|word| put(&mut bytes, word));
    bytes
}

/// Reads a value. A log may show fewer entries than it has: `entries` is their number, if known.
pub(crate) fn read(
    flat: &[u8],
    entries: Option<u64>,
    policy: &Policy,
) -> Result<Record, StateError> {
    let mut flat = flat;
    let earlier = take_in_front(&mut flat).ok_or(StateError::Corrupt)?;
    let record = read_plain(flat, entries, policy)?;
    if earlier.is_empty() { Ok(record) } else { record.with_earlier(&earlier) }
}

fn read_plain(flat: &[u8], entries: Option<u64>, policy: &Policy) -> Result<Record, StateError> {
    let (header, words) = split(flat).ok_or(StateError::Corrupt)?;
    let Some(beside) = words_beside_log(header) else {
        return Record::from_words(header, &words, policy);
    };
    let (base, words) = words.split_first().ok_or(StateError::Corrupt)?;
    let (rest, log) = words.split_at_checked(beside).ok_or(StateError::Corrupt)?;
    let (pairs, []) = log.as_chunks() else { return Err(StateError::Corrupt) };

    let shown = pairs.len() as u64;
    let (mut at_before, mut total_before) = (0, *base);
    let costs = pairs.iter().flat_map(|&[at, total]| {
        let since = at.wrapping_sub(mem::replace(&mut at_before, at));
        let cost = total.wrapping_sub(mem::replace(&mut total_before, total)) % WRAP;
        [since, cost]
    });
    let words: Vec<_> = iter::once(shown).chain(costs).chain(rest.iter().copied()).collect();
    let hidden = entries.unwrap_or(shown).saturating_sub(shown);
    let hidden = usize::try_from(hidden).map_err(|_| StateError::Corrupt)?;
    Ok(Record::from_words(header, &words, policy)?.hiding(hidden))
}

/// Returns true if a value's state is under the numbers of this header, as it is stored.
pub(crate) fn is_under(flat: &[u8], framed: &[u8]) -> bool {
    let mut plain = flat;
    take_in_front(&mut plain).is_some() && plain.starts_with(framed)
}

/// The kind of a state, by its header as it is stored.
pub(crate) fn kind(framed: &[u8]) -> u8 {
    *framed.get(2).expect("a header is its length, a version, a kind and numbers")
}

/// Splits bytes into words; `None` if they do not come out even.
fn words(bytes: &[u8]) -> Option<Vec<u64>> {
    let (words, []) = bytes.as_chunks() else { return None };
    Some(words.iter().map(word).collect())
}

/// A word.
pub(crate) fn word(&[a, b, c, d, e, f, g]: &[u8; WORD_BYTES]) -> u64 {
    u64::from_be_bytes([0, a, b, c, d, e, f, g])
}

fn split(flat: &[u8]) -> Option<(&[u8], Vec<u64>)> {
    let (&length, rest) = flat.split_first()?;
    let (header, rest) = rest.split_at_checked(length.into())?;
    Some((header, words(rest)?))
}

/// Takes the log off the words of a record: their number, then what each has of its own.
fn take_entries(words: &mut Vec<u64>) -> Vec<u64> {
    let entries = words.first().and_then(|&entries| usize::try_from(entries).ok());
    let end = 1 + 2 * entries.expect("a log's words begin with the number of its entries");
    words.drain(..end).skip(1).collect()
}

pub(crate) fn put(bytes: &mut Vec<u8>, word: u64) {
    let [first, rest @ ..] = word.min(WORD_MAX).to_be_bytes();
    debug_assert_eq!(first, 0, "nothing beyond seven bytes comes here");
    bytes.extend(rest);
}

/// Seven bytes hold 2^53 with ease, and `struct` in scripts packs as many exactly.
pub(crate) const WORD_BYTES: usize = 7;

/// An entry of a log.
pub(crate) const ENTRY_BYTES: usize = 2 * WORD_BYTES;

/// The first byte of a value with states under earlier numbers; no header is as long.
const EARLIER: u8 = 255;

/// Beyond 2^53 there is only the end of a block in the last years of time, which no script reads.
const WORD_MAX: u64 = (1 << (8 * WORD_BYTES)) - 1;

pub(crate) const WRAP: u64 = 1 << 52;

/// The running total before the first entry; scripts let it rise.
const BASE: u64 = 0;
