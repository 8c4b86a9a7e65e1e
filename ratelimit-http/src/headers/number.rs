//! Numbers as values of headers.

use http::HeaderValue;

/// A number as a header's value: most are small, and take no allocation.
pub(crate) fn number(value: u64) -> HeaderValue {
    match usize::try_from(value).ok().and_then(|value| SMALL.get(value)) {
        Some(digits) => {
            let text = str::from_utf8(significant(digits)).expect("digits are text");
            HeaderValue::from_static(text)
        }
        None => large_number(value),
    }
}

/// In one allocation of its own size, where `HeaderValue::from(u64)` makes two.
fn large_number(value: u64) -> HeaderValue {
    let mut digits = [[0; 4]; NUMBER_MAX.ilog10() as usize / 4 + 1];
    let mut rest = value.min(NUMBER_MAX);
    for four in digits.iter_mut().rev() {
        *four = SMALL[(rest % 10_000) as usize];
        rest /= 10_000;
    }
    HeaderValue::from_bytes(significant(digits.as_flattened())).expect("digits are visible")
}

/// Without zeros in front, but for the last digit.
fn significant(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
    &digits[zeros.min(digits.len() - 1)..]
}

/// The numbers of four digits: hours in seconds, and what most limits are.
static SMALL: [[u8; 4]; 10_000] = {
    let mut all = [[0; 4]; 10_000];
    let mut number = 0;
    while number < all.len() {
        let n = number as u64;
        all[number] = [digit(n / 1_000), digit(n / 100), digit(n / 10), digit(n)];
        number += 1;
    }
    all
};

/// The last digit of a number.
const fn digit(number: u64) -> u8 {
    b'0' + (number % 10) as u8
}

/// The largest integer of a structured field (RFC 9651): 15 digits.
pub(crate) const NUMBER_MAX: u64 = 999_999_999_999_999;
