//! The report as text for a terminal.

use std::fmt::Write;

use super::{
    CandidateReport, Report, Smallest,
    format::{count, length, percent},
};
use crate::{reader::LogCounts, time::show};

impl Report {
    /// The report as text, in lines of a hundred characters or so.
    #[must_use]
    pub fn to_table(&self) -> String {
        let mut text = self.summary();
        if let Some(log) = &self.log {
            for line in notes(log) {
                let _ = writeln!(text, "{line}");
            }
        }
        let mut rows = vec![HEADING.map(str::to_owned)];
        rows.extend(self.candidates.iter().map(|one| self.row(one)));
        text += "\n";
        text += &align(&rows);
        for one in &self.candidates {
            text += &affected(one);
        }
        for one in &self.candidates {
            if let Some(smallest) = &one.smallest {
                text += &found(&one.name, smallest);
            }
        }
        text
    }

    /// The requests, their clients, and their times.
    pub(super) fn summary(&self) -> String {
        let (requests, clients) = (count(self.requests), count(self.clients));
        let span = self.log.as_ref().and_then(|log| log.span);
        let span = span.map_or_else(String::new, |(first, last)| {
            format!(", {} to {} UTC", show(first), show(last))
        });
        format!("{requests} requests of {clients} clients{span}\n")
    }

    /// The totals of a candidate, as in [`HEADING`].
    pub(super) fn row(&self, one: &CandidateReport) -> [String; 6] {
        let share = |part, whole| format!("{} ({})", count(part), percent(part, whole));
        [
            one.name.clone(),
            one.limit.clone(),
            share(one.denied, self.requests),
            share(one.clients_denied, self.clients),
            length(one.longest_denial),
            count(one.clients_by_headroom[0]),
        ]
    }
}

/// The columns of the totals.
pub(super) const HEADING: [&str; 6] = [
    "name",
    "limit",
    "requests denied",
    "clients denied",
    "longest denial",
    "clients under 10% left",
];

/// Facts about the log.
pub(super) fn notes(log: &LogCounts) -> Vec<String> {
    let mut notes = Vec::new();
    let mut note = |number: u64, what: &str| {
        if 0 < number {
            notes.push(format!("{} of {} lines: {what}", count(number), count(log.lines)));
        }
    };
    let reasons: Vec<_> =
        log.first_bad.iter().map(|bad| format!("line {}: {}", bad.line, bad.reason)).collect();
    note(log.bad, &format!("cannot be read ({})", reasons.join("; ")));
    note(log.left_out, "left out by method, path or status");
    note(log.other, "of another kind than requests");
    note(log.no_room, "of clients for whom there was no room");
    note(log.late, "later than the window for lines out of order");
    if log.requests == 0 {
        notes.push("no requests in the log".to_owned());
    }
    notes
}

fn affected(one: &CandidateReport) -> String {
    if one.most_affected.is_empty() {
        return String::new();
    }
    let heading = ["client", "requests", "denied", "longest denial"].map(str::to_owned);
    let row = |client: &super::Affected| {
        [
            client.client.clone(),
            count(client.requests),
            count(client.denied),
            length(client.longest_denial),
        ]
    };
    let rows: Vec<_> = [heading].into_iter().chain(one.most_affected.iter().map(row)).collect();
    format!("\nmost affected by {}\n{}", one.name, align(&rows))
}

fn found(name: &str, smallest: &Smallest) -> String {
    let mut text =
        format!("\nsmallest {name} that denies at most {} of clients\n", smallest.deny_at_most);
    let none = || "larger than can be told".to_owned();
    let limit = smallest.limit.clone().unwrap_or_else(none);
    let _ = writeln!(text, "{name} = {limit}");
    if let Some(rate) = &smallest.rate {
        let _ = writeln!(text, "slowest rate that was tried at the size of {name}: {rate}");
    }
    if !smallest.frontier.is_empty() {
        let heading = ["rate", "smallest size"].map(str::to_owned);
        let row = |point: &super::FrontierPoint| {
            [point.rate.clone(), point.size.map_or_else(none, count)]
        };
        let rows: Vec<_> = [heading].into_iter().chain(smallest.frontier.iter().map(row)).collect();
        text += &align(&rows);
    }
    text
}

/// Rows with two spaces between columns; the first column to the left, numbers to the right.
fn align<const N: usize>(rows: &[[String; N]]) -> String {
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}
