//! The outline of a log: sums of the entries that its row does not keep.

use ratelimit_core::{StateError, Timestamp};

/// The time and cost of an entry.
pub(crate) type Charge = (Timestamp, u64);

/// The place of a segment, or of a node that sums up what lies below it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Address {
    /// Zero for segments.
    pub(crate) level: u32,
    pub(crate) number: u64,
}

/// Entries that follow one another, summed up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Sum {
    pub(crate) entries: u64,
    pub(crate) cost: u64,
    /// The instant of the last entry.
    pub(crate) newest: Timestamp,
}

/// A row's summary of its log's segments.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Outline {
    /// The number of segments, from the first that was ever written.
    pub(crate) segments: u64,
    /// The number of segments that have been deleted, oldest first.
    pub(crate) deleted: u64,
    /// Entries before this instant are gone, even if their segment is still there.
    pub(crate) since: Timestamp,
    /// For each level, the sums that belong to no node yet. Those that are gone are left out.
    pub(crate) sums: Vec<Vec<Sum>>,
}

impl Address {
    pub(crate) const fn parent(self) -> Self {
        Self { level: self.level + 1, number: self.number >> BITS }
    }

    /// The first segment that lies in it.
    pub(crate) const fn start(self) -> u64 {
        self.number << (BITS * self.level)
    }

    /// The first segment that lies behind it.
    pub(crate) const fn end(self) -> u64 {
        (self.number + 1) << (BITS * self.level)
    }

    /// The addresses of what a node sums up: the last `len` of those that it has room for.
    pub(crate) fn children(self, len: usize) -> impl Iterator<Item = Self> {
        let end = (self.number + 1) << BITS;
        let level = self.level.saturating_sub(1);
        (end - (len as u64).min(end)..end).map(move |number| Self { level, number })
    }
}

impl Sum {
    /// The sum of consecutive parts; `None` of none.
    pub(crate) fn total(parts: impl IntoIterator<Item = Self>) -> Option<Self> {
        parts.into_iter().reduce(|all, part| Self {
            entries: all.entries.saturating_add(part.entries),
            cost: all.cost.saturating_add(part.cost),
            newest: part.newest,
        })
    }

    pub(crate) fn of(charges: &[Charge]) -> Option<Self> {
        Self::total(charges.iter().map(|&(newest, cost)| Self { entries: 1, cost, newest }))
    }
}

impl Outline {
    pub(crate) const EMPTY: Self =
        Self { segments: 0, deleted: 0, since: Timestamp::EPOCH, sums: Vec::new() };

    /// The sums and their addresses, oldest first.
    pub(crate) fn sums(&self) -> impl Iterator<Item = (Address, Sum)> {
        let levels = (0..LEVELS_MAX).zip(&self.sums).collect::<Vec<_>>().into_iter().rev();
        levels.flat_map(|(level, sums)| {
            let end = self.segments >> (BITS * level);
            let numbers = end - sums.len() as u64..end;
            numbers.zip(sums).map(move |(number, &sum)| (Address { level, number }, sum))
        })
    }

    /// The levels that may have a node or a segment.
    pub(crate) fn levels(&self) -> u32 {
        (0..LEVELS_MAX).find(|level| self.segments >> (BITS * level) == 0).unwrap_or(LEVELS_MAX)
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        Self::read(&mut Reader(bytes)).ok_or(StateError::Corrupt)
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let [segments, deleted, since] = [reader.number()?, reader.number()?, reader.number()?];
        let mut outline =
            Self { segments, deleted, since: Timestamp::from_micros(since)?, sums: Vec::new() };
        if SEGMENTS_MAX < segments || segments < deleted {
            return None;
        }
        for level in
            0..u32::try_from(reader.number()?).ok().filter(|&levels| levels <= outline.levels())?
        {
            let end = segments >> (BITS * level);
            let sums = reader.sums()?;
            if end % (FAN as u64) < sums.len() as u64 {
                return None;
            }
            outline.sums.push(sums);
        }
        let is_in_order = outline.sums().is_sorted_by(|(_, a), (_, b)| a.newest < b.newest);
        (reader.0.is_empty() && is_in_order).then_some(outline)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let levels = self.sums.len() as u64;
        for number in [self.segments, self.deleted, self.since.as_micros(), levels] {
            write_number(&mut out, number);
        }
        self.sums.iter().for_each(|sums| write_sums(&mut out, sums));
        out
    }
}

/// Reads the sums of a node.
pub(crate) fn decode_sums(bytes: &[u8]) -> Result<Vec<Sum>, StateError> {
    let mut reader = Reader(bytes);
    let sums = reader.sums().filter(|sums| !sums.is_empty() && reader.0.is_empty());
    sums.ok_or(StateError::Corrupt)
}

pub(crate) fn encode_sums(sums: &[Sum]) -> Vec<u8> {
    let mut out = Vec::new();
    write_sums(&mut out, sums);
    out
}

/// The number of sums, then of each: the time since the one before, the cost, the entries.
fn write_sums(out: &mut Vec<u8>, sums: &[Sum]) {
    write_number(out, sums.len() as u64);
    let mut before = 0;
    for Sum { entries, cost, newest } in sums {
        let at = newest.as_micros();
        for number in [at.saturating_sub(before), *cost, *entries] {
            write_number(out, number);
        }
        before = at;
    }
}

/// Writes an unsigned LEB128 integer.
fn write_number(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            return out.push(low & 0x7f);
        }
        out.push(low | 0x80);
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let part = u64::from(byte & 0x7f);
            number |= part.checked_shl(shift).filter(|shifted| shifted >> shift == part)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn sums(&mut self) -> Option<Vec<Sum>> {
        let len = self.number().and_then(|len| usize::try_from(len).ok());
        let (mut sums, mut before) = (Vec::new(), 0_u64);
        for _ in 0..len.filter(|&len| len <= FAN)? {
            before = before.checked_add(self.number()?)?;
            let (cost, entries) = (self.number()?, self.number()?);
            sums.push(Sum { entries, cost, newest: Timestamp::from_micros(before)? });
        }
        sums.is_sorted_by(|a, b| a.newest < b.newest).then_some(sums)
    }
}

/// The entries of a segment, and the sums of a node: so a body is hardly ever longer than what a page
/// keeps of it.
pub(crate) const FAN: usize = 1 << BITS;

pub(crate) const BITS: u32 = 5;

/// As many levels as any number of segments has, with some to spare.
const LEVELS_MAX: u32 = 10;

/// More than a log of one entry a microsecond has in fifty years.
const SEGMENTS_MAX: u64 = 1 << (BITS * LEVELS_MAX - 1);

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(micros: u64) -> Sum {
        Sum { entries: 3, cost: u64::MAX, newest: Timestamp::from_micros(micros).unwrap() }
    }

    #[test]
    fn an_outline_is_read_as_it_was_written_and_nothing_shorter_or_longer_is() {
        let sums = vec![vec![sum(300), sum(400)], vec![sum(200)]];
        let since = Timestamp::from_micros(100).unwrap();
        let outline = Outline { segments: 34, deleted: 1, since, sums };
        let bytes = outline.encode();
        assert_eq!(Outline::decode(&bytes), Ok(outline));
        assert_eq!(Outline::decode(&[&bytes[..], &[0]].concat()), Err(StateError::Corrupt));
        for end in 0..bytes.len() {
            assert_eq!(Outline::decode(&bytes[..end]), Err(StateError::Corrupt));
        }
    }

    #[test]
    fn no_bytes_lead_to_an_outline_that_cannot_be() {
        let many = |level| vec![sum(1); level];
        let cases = [
            Outline { deleted: 2, segments: 1, ..Outline::EMPTY },
            Outline { segments: u64::MAX, ..Outline::EMPTY },
            Outline { segments: 1, sums: vec![many(2)], ..Outline::EMPTY },
            Outline { segments: 2, sums: vec![many(2)], ..Outline::EMPTY },
            Outline { segments: 33, sums: vec![vec![sum(1)], vec![sum(2)]], ..Outline::EMPTY },
        ];
        for outline in cases {
            assert_eq!(Outline::decode(&outline.encode()), Err(StateError::Corrupt), "{outline:?}");
        }
    }
}
