//! A row: what was measured, beside what, and the mark it should reach.

use crate::sample::Sample;

/// One line of the table.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) unit: Unit,
    pub(crate) ours: Sample,
    /// The name of the other side.
    pub(crate) beside: String,
    pub(crate) theirs: Option<Sample>,
    pub(crate) mark: Mark,
}

/// The unit of a figure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unit {
    Nanos,
    Micros,
    Millis,
    PerSecond,
    Bytes,
    Allocations,
    Instructions,
    Calls,
}

/// The mark that a row should reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mark {
    /// Nothing: the row is there to look at.
    None,
    /// At most this share of what it is compared with.
    Ratio(f64),
    /// At least this share of what it is compared with.
    AtLeast(f64),
    /// At most this figure.
    Figure(f64),
    /// At most this much more than what it is compared with.
    More(f64),
}

impl Unit {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nanos => "ns",
            Self::Micros => "µs",
            Self::Millis => "ms",
            Self::PerSecond => "/s",
            Self::Bytes => "bytes",
            Self::Allocations => "allocations",
            Self::Instructions => "instructions",
            Self::Calls => "calls",
        }
    }
}

impl Row {
    pub(crate) fn ratio(&self) -> Option<f64> {
        Some(self.ours.median() / self.theirs.as_ref()?.median())
    }

    pub(crate) const fn reach(&self) -> Option<f64> {
        match self.mark {
            Mark::None => None,
            Mark::Ratio(reach) | Mark::AtLeast(reach) | Mark::Figure(reach) | Mark::More(reach) => {
                Some(reach)
            }
        }
    }

    /// Returns whether the mark is reached, if there is one.
    pub(crate) fn met(&self) -> Option<bool> {
        match self.mark {
            Mark::None => None,
            Mark::Ratio(reach) => Some(self.ratio()? <= reach),
            Mark::AtLeast(reach) => Some(reach <= self.ratio()?),
            Mark::Figure(reach) => Some(self.ours.median() <= reach),
            Mark::More(reach) => Some(self.ours.median() - self.theirs.as_ref()?.median() <= reach),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ours: f64, theirs: Option<f64>, mark: Mark) -> Row {
        let (ours, theirs) = (ours.into(), theirs.map(Sample::from));
        Row { name: String::new(), unit: Unit::Nanos, ours, beside: String::new(), theirs, mark }
    }

    #[test]
    fn a_mark_is_met_up_to_its_figure_and_no_further() {
        for (ours, theirs, mark, met) in [
            (65.0, Some(100.0), Mark::Ratio(0.65), Some(true)),
            (66.0, Some(100.0), Mark::Ratio(0.65), Some(false)),
            (90.0, Some(100.0), Mark::AtLeast(0.9), Some(true)),
            (89.0, Some(100.0), Mark::AtLeast(0.9), Some(false)),
            (80.0, None, Mark::Figure(80.0), Some(true)),
            (81.0, Some(100.0), Mark::Figure(80.0), Some(false)),
            (14.0, Some(10.0), Mark::More(4.0), Some(true)),
            (15.0, Some(10.0), Mark::More(4.0), Some(false)),
            (1.0, Some(2.0), Mark::None, None),
        ] {
            assert_eq!(row(ours, theirs, mark).met(), met, "{ours} beside {theirs:?}: {mark:?}");
        }
    }
}
