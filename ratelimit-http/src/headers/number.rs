//! Numbers as values of headers.

use bytes::Bytes;
use http::HeaderValue;

/// The largest integer of a structured field (RFC 9651): 15 digits.
pub(super) const NUMBER_MAX: u64 = 999_999_999_999_999;

/// A number as a header's value, at most [`NUMBER_MAX`]. One of up to three digits takes no allocation;
/// any other takes one, where `HeaderValue::from` takes two.
pub(crate) fn number(value: u64) -> HeaderValue {
    let value = match few_digits(value) {
        Some(digits) => HeaderValue::from_maybe_shared(Bytes::from_static(digits)),
        None => HeaderValue::from_str(itoa::Buffer::new().format(value.min(NUMBER_MAX))),
    };
    value.expect("digits are visible")
}

/// The digits of a number below 1,000.
fn few_digits(value: u64) -> Option<&'static [u8]> {
    let digits = THREE_DIGITS.get(usize::try_from(value).ok()?)?;
    let zeros = match value {
        100.. => 0,
        10.. => 1,
        _ => 2,
    };
    digits.get(zeros..)
}

/// Each number below 1,000, with the zeros before it.
static THREE_DIGITS: [[u8; 3]; 1_000] = {
    let mut table = [*b"000"; 1_000];
    let mut index = 1;
    while index < table.len() {
        let mut next = table[index - 1];
        let mut place = next.len();
        // Carries: the last digit that is no nine becomes one more, those after it become zero.
        while next[place - 1] == b'9' {
            place -= 1;
            next[place] = b'0';
        }
        next[place - 1] += 1;
        table[index] = next;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_without_zeros_before_it() {
        let longer = [1_000, 65_536, NUMBER_MAX - 1, NUMBER_MAX];
        for value in (0..=1_001).chain(longer) {
            assert_eq!(number(value), value.to_string());
        }
        assert_eq!(number(u64::MAX), number(NUMBER_MAX));
    }
}
