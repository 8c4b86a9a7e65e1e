//! The rows as a table in Markdown.

use std::fmt::Write;

use crate::{
    machine,
    report::{json::Baseline, short},
    row::{Mark, Row},
};

/// The whole table, with the machine and the command that made it.
pub(crate) fn table(rows: &[Row], baseline: Option<&Baseline>, command: &str) -> String {
    let mut out = format!("`{command}` on {}\n\n", machine::name());
    out.push_str("| row | ours | beside | theirs | ratio | reach | met |");
    out.push_str(if baseline.is_some() { " before |\n" } else { "\n" });
    out.push_str("|---|---|---|---|---|---|---|");
    out.push_str(if baseline.is_some() { "---|\n" } else { "\n" });
    let mut question = "";
    for row in rows {
        if question != row.question {
            question = row.question;
            let _ = writeln!(out, "| **{question}** | | | | | | |");
        }
        let _ = writeln!(out, "{}", line(row, baseline));
    }
    let met = rows.iter().filter(|row| row.met() == Some(true)).count();
    let marked = rows.iter().filter(|row| row.met().is_some()).count();
    let _ = write!(out, "\n{met} of {marked} marks are met.");
    out
}

/// One line of it.
pub(crate) fn line(row: &Row, baseline: Option<&Baseline>) -> String {
    let figure = |sample: &crate::sample::Sample| {
        format!("{} ± {:.0} %", short(sample.median()), sample.spread() * 100.0)
    };
    let theirs = row.theirs.as_ref().map_or_else(|| "–".to_owned(), figure);
    let ratio = row.ratio().map_or_else(|| "–".to_owned(), short);
    let reach = match row.mark {
        Mark::None => "–".to_owned(),
        Mark::Ratio(reach) => format!("≤ {reach}×"),
        Mark::AtLeast(reach) => format!("≥ {reach}×"),
        Mark::Figure(reach) => format!("≤ {reach} {}", row.unit.name()),
        Mark::AboveFloor { reach, .. } => format!("≤ {reach}×"),
    };
    let met = row.met().map_or("–", |met| if met { "yes" } else { "**no**" });
    let ours = format!("{} {}", figure(&row.ours), row.unit.name());
    let mut out = format!(
        "| {} | {ours} | {} | {theirs} | {ratio} | {reach} | {met} |",
        row.name, row.beside
    );
    if let Some(baseline) = baseline {
        let before = baseline.get(&row.name).map(|before| {
            format!("{} ({:+.0} %)", short(*before), (row.ours.median() / before - 1.0) * 100.0)
        });
        let _ = write!(out, " {} |", before.as_deref().unwrap_or("–"));
    }
    out
}
