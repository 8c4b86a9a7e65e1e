//! Runs the rows that were asked for.

use crate::{
    options::Options,
    row::{Mark, Row, Unit},
    sample::{Sample, Side},
};

/// The rows measured so far, and how to measure the next ones.
pub(crate) struct Bench<'a> {
    options: &'a Options,
    question: &'static str,
    rows: Vec<Row>,
}

/// The name of a row, the other side, and the mark.
pub(crate) struct Title<'a> {
    pub(crate) name: &'a str,
    pub(crate) beside: &'a str,
    pub(crate) mark: Mark,
}

impl<'a> Bench<'a> {
    pub(crate) const fn new(options: &'a Options) -> Self {
        Self { options, question: "", rows: Vec::new() }
    }

    pub(crate) fn into_rows(self) -> Vec<Row> {
        self.rows
    }

    /// The rows that follow answer this question.
    pub(crate) const fn ask(&mut self, question: &'static str) {
        self.question = question;
    }

    /// Returns whether rows that take long, or need something installed, are left out: of a quick run that
    /// nobody has asked for some rows by name.
    pub(crate) const fn is_brief(&self) -> bool {
        self.options.quick && self.options.words.is_empty()
    }

    /// Returns whether a row of this name is wanted.
    pub(crate) fn wants(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        self.options.words.iter().all(|word| name.contains(word))
    }

    /// `full`, or a part of it if the run is to be quick.
    pub(crate) const fn effort(&self, full: usize) -> usize {
        if self.options.quick { full.div_ceil(6) } else { full }
    }

    /// Runs both sides in turns, so that whatever else the machine does meets both.
    pub(crate) fn race<'s>(
        &mut self,
        title: &Title<'_>,
        unit: Unit,
        set_up: impl FnOnce() -> (Side<'s>, Side<'s>),
    ) {
        if !self.wants(title.name) {
            return;
        }
        let (ours, theirs) = set_up();
        let (ours, theirs) = turns(self.effort(ROUNDS), ours, theirs);
        self.add(title, unit, Sample::new(ours), Some(Sample::new(theirs)));
    }

    /// Adds a row that was measured elsewhere.
    pub(crate) fn add(
        &mut self,
        title: &Title<'_>,
        unit: Unit,
        ours: Sample,
        theirs: Option<Sample>,
    ) {
        let Title { name, beside, mark } = *title;
        let (question, name, beside) = (self.question, name.to_owned(), beside.to_owned());
        let row = Row { question, name, unit, ours, beside, theirs, mark };
        eprintln!("{}", crate::report::markdown::line(&row, None));
        self.rows.push(row);
    }
}

/// Returns the figures of so many rounds of both sides, which begin in turn.
pub(crate) fn turns<T>(
    rounds: usize,
    mut ours: impl FnMut() -> T,
    mut theirs: impl FnMut() -> T,
) -> (Vec<T>, Vec<T>) {
    let mut figures = (Vec::new(), Vec::new());
    // The first round warms up.
    for round in 0..=rounds {
        let (our, their) = if round % 2 == 0 {
            let our = ours();
            (our, theirs())
        } else {
            let their = theirs();
            (ours(), their)
        };
        if 0 < round {
            figures.0.push(our);
            figures.1.push(their);
        }
    }
    figures
}

/// Many and short, so that most of them pass without the machine doing something else meanwhile.
const ROUNDS: usize = 240;
