//! Numbers as values of headers.

use http::HeaderValue;

/// The largest integer of a structured field (RFC 9651): 15 digits.
pub(crate) const NUMBER_MAX: u64 = 999_999_999_999_999;

/// A number as a header's value, in one allocation of its size; `HeaderValue::from` makes two.
pub(crate) fn number(value: u64) -> HeaderValue {
    let mut digits = itoa::Buffer::new();
    HeaderValue::from_str(digits.format(value.min(NUMBER_MAX))).expect("digits are visible")
}
