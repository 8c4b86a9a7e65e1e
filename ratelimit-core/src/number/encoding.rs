//! Numbers as bytes, unsigned LEB128, and the way back, which believes nothing.

use alloc::vec::Vec;

use crate::Timestamp;

/// Appends a number to `bytes`, seven bits a byte, the lowest first.
pub(crate) fn write(bytes: &mut Vec<u8>, mut number: u64) {
    while let (rest, 1..) = (number & 0x7f, number >> 7) {
        bytes.push(rest.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

/// Reads numbers one after the other: those in the bytes, then the words.
pub(crate) struct Reader<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) words: &'a [u64],
}

impl Reader<'_> {
    /// The next number.
    pub(crate) fn number(&mut self) -> Option<u64> {
        if self.bytes.is_empty() {
            return self.words.split_off_first().copied();
        }
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if part << shift >> shift != part {
                return None;
            }
            number |= part << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// The next `N` numbers.
    pub(crate) fn numbers<const N: usize>(&mut self) -> Option<[u64; N]> {
        let mut numbers = [0; N];
        for number in &mut numbers {
            *number = self.number()?;
        }
        Some(numbers)
    }

    /// The next number, as a point in time.
    pub(crate) fn timestamp(&mut self) -> Option<Timestamp> {
        Timestamp::from_micros(self.number()?)
    }

    /// The next byte.
    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.bytes.split_off_first().copied()
    }

    /// The most numbers that may follow.
    pub(crate) const fn numbers_max(&self) -> usize {
        self.bytes.len().saturating_add(self.words.len())
    }

    /// Returns true if nothing follows.
    pub(crate) const fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.words.is_empty()
    }
}
