//! A row: what was measured, beside what, and the mark it should reach.

use crate::sample::Sample;

/// One line of the table.
pub(crate) struct Row {
    /// The question that it answers, with others.
    pub(crate) question: &'static str,
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
    /// None: the row is information only.
    None,
    /// At most this share of what it is compared with.
    Ratio(f64),
    /// At least this share of what it is compared with.
    AtLeast(f64),
    /// At most this figure.
    Figure(f64),
    /// At most this share of what it is compared with; or, where the floor is above that, at most
    /// [`ABOVE_FLOOR`] of the floor, which is what the same work takes without its answer.
    AboveFloor { reach: f64, floor: f64 },
}

/// The rest above the floor is the limit's own work.
pub(crate) const ABOVE_FLOOR: f64 = 1.3;

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
            Mark::Ratio(reach) | Mark::AtLeast(reach) | Mark::Figure(reach) => Some(reach),
            Mark::AboveFloor { reach, .. } => Some(reach),
        }
    }

    /// Returns whether the mark is reached, if there is one.
    pub(crate) fn met(&self) -> Option<bool> {
        match self.mark {
            Mark::None => None,
            Mark::Ratio(reach) => Some(self.ratio()? <= reach),
            Mark::AtLeast(reach) => Some(reach <= self.ratio()?),
            Mark::Figure(reach) => Some(self.ours.median() <= reach),
            Mark::AboveFloor { reach, floor } => {
                let least = self.theirs.as_ref()?.median() * reach;
                Some(self.ours.median() <= if least < floor { ABOVE_FLOOR * floor } else { least })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ours: f64, theirs: Option<f64>, mark: Mark) -> Row {
        let (ours, theirs) = (ours.into(), theirs.map(Sample::from));
        let (question, name, beside) = ("", String::new(), String::new());
        Row { question, name, unit: Unit::Nanos, ours, beside, theirs, mark }
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
            (65.0, Some(100.0), Mark::AboveFloor { reach: 0.65, floor: 60.0 }, Some(true)),
            (66.0, Some(100.0), Mark::AboveFloor { reach: 0.65, floor: 60.0 }, Some(false)),
            (91.0, Some(100.0), Mark::AboveFloor { reach: 0.65, floor: 70.0 }, Some(true)),
            (92.0, Some(100.0), Mark::AboveFloor { reach: 0.65, floor: 70.0 }, Some(false)),
            (1.0, Some(2.0), Mark::None, None),
        ] {
            assert_eq!(row(ours, theirs, mark).met(), met, "{ours} beside {theirs:?}: {mark:?}");
        }
    }
}
