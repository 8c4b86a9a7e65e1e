//! A row of the report: two figures, measured in turn, and what their ratio is to reach.

use std::time::Duration;

/// How long it may take.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// Rounds, in each of which both are measured.
    pub(crate) rounds: usize,
    /// The length of one measurement.
    pub(crate) length: Duration,
}

impl Effort {
    pub(crate) const FULL: Self = Self { rounds: 11, length: Duration::from_millis(500) };
    pub(crate) const QUICK: Self = Self { rounds: 5, length: Duration::from_millis(200) };
}

/// Two figures side by side.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) ours: Samples,
    pub(crate) beside: &'static str,
    pub(crate) theirs: Samples,
    pub(crate) reach: Reach,
}

/// What a row is to reach.
#[derive(Clone, Copy)]
pub(crate) enum Reach {
    /// Ours is at least so many times theirs.
    Ratio(f64),
    /// Ours is less than so much.
    Below(f64),
}

impl Row {
    fn ratio(&self) -> f64 {
        self.ours.median() / self.theirs.median()
    }

    fn is_met(&self) -> bool {
        match self.reach {
            Reach::Ratio(least) => least <= self.ratio(),
            Reach::Below(bound) => self.ours.median() < bound,
        }
    }

    pub(crate) fn print(&self) {
        let Self { name, unit, ours, beside, theirs, .. } = self;
        let (reach, ratio) = (self.reach(), self.ratio());
        let verdict = if self.is_met() { "met" } else { "MISSED" };
        println!("{name}: {ours} {unit}, {beside} {theirs}; ratio {ratio:.2}, {reach}: {verdict}");
    }

    pub(crate) fn print_json(&self) {
        let Self { name, unit, ours, beside, theirs, .. } = self;
        let (ours, theirs) = (ours.median(), theirs.median());
        let (ratio, reach, met) = (self.ratio(), self.reach(), self.is_met());
        println!(
            r#"{{"row":"{name}","unit":"{unit}","ours":{ours:.3},"beside":"{beside}","theirs":{theirs:.3},"ratio":{ratio:.3},"reach":"{reach}","met":{met}}}"#
        );
    }

    fn reach(&self) -> String {
        match self.reach {
            Reach::Ratio(least) => format!("at least {least}"),
            Reach::Below(bound) => format!("below {bound} {}", self.unit),
        }
    }
}

/// One figure, measured several times.
#[derive(Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn push(&mut self, sample: f64) {
        let place = self.0.partition_point(|&other| other < sample);
        self.0.insert(place, sample);
    }

    fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }
}

/// The median, and between what the middle half lies.
impl std::fmt::Display for Samples {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let quarter = self.0.len() / 4;
        let (low, high) = (self.0[quarter], self.0[self.0.len() - 1 - quarter]);
        let digits = if self.median() < 1_000.0 { 2 } else { 0 };
        write!(f, "{:.digits$} ({low:.digits$} to {high:.digits$})", self.median())
    }
}
