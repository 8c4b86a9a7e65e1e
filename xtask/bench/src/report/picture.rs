//! The picture of the README: decisions a second in memory, over HTTP and of Redis, ours and others'.

use std::fmt::Write;

use anyhow::{Context, Result};

use crate::{
    report::svg::{TOP, escape, sheet},
    row::{Row, Unit},
};

/// A whole SVG file, of the rows that it needs.
pub(crate) fn picture(rows: &[Row]) -> Result<String> {
    let mut out = String::new();
    let mut y = TOP;
    for (title, bars) in PANELS {
        let bars = bars.iter().map(|&(name, row, side)| Ok((name, rate(rows, row, side)?)));
        let bars = bars.collect::<Result<Vec<_>>>()?;
        y = panel(&mut out, y, title, &bars);
    }
    Ok(sheet(WIDTH, y, "Decisions a second (longer is better)", &out))
}

/// Draws a panel, whose longest bar is as long as there is room; returns where the next one begins.
fn panel(out: &mut String, y: usize, title: &str, bars: &[(&str, f64)]) -> usize {
    let most = bars.iter().map(|(_, rate)| *rate).fold(1.0, f64::max);
    let _ = writeln!(out, "<text x=\"8\" y=\"{}\" font-weight=\"bold\">{title}</text>", y + 14);
    for (index, (name, rate)) in bars.iter().enumerate() {
        let y = y + LINE * (index + 1);
        let (fill, length) =
            (if name.starts_with(OURS) { "#4f81bd" } else { "#b0b0b0" }, rate / most * WHOLE);
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{LEFT}\" y=\"{y}\" width=\"{length:.0}\" height=\"16\" fill=\"{fill}\"/>\n\
             <text x=\"{:.0}\" y=\"{}\">{}</text>",
            LEFT - 8,
            y + 12,
            escape(name),
            LEFT as f64 + length + 6.0,
            y + 12,
            with_thousands(*rate),
        );
    }
    y + LINE * (bars.len() + 2)
}

/// The decisions that a side of a row makes in a second.
fn rate(rows: &[Row], name: &str, side: Side) -> Result<f64> {
    let row = rows.iter().find(|row| row.name == name);
    let row = row.with_context(|| format!("the picture needs the row {name:?}"))?;
    let sample = match side {
        Side::Ours => &row.ours,
        Side::Theirs => row.theirs.as_ref().context("it has another side")?,
    };
    Ok(if row.unit == Unit::Nanos { 1e9 / sample.median() } else { sample.median() })
}

fn with_thousands(rate: f64) -> String {
    if 1e6 <= rate {
        format!("{:.0} million", rate / 1e6)
    } else {
        format!("{:.0} 000", rate / 1e3)
    }
}

#[derive(Clone, Copy)]
enum Side {
    Ours,
    Theirs,
}

/// A panel's title, and its bars: what each is called, and the row and side that it is of.
type Panel = (&'static str, &'static [(&'static str, &'static str, Side)]);

const PANELS: [Panel; 3] = [
    (
        "In memory: one thread, 10 000 keys, each with the clock that it comes with",
        &[(OURS, MEMORY, Side::Ours), ("governor", MEMORY, Side::Theirs)],
    ),
    (
        "A request through axum in process, with its headers",
        &[(OURS, HTTP, Side::Ours), ("tower_governor", HTTP, Side::Theirs)],
    ),
    (
        "Redis on one machine: 64 callers, one hot key or 1 000 keys",
        &[
            ("ratelimit, leased", "redis, leased, 64 async callers, 1 hot key", Side::Ours),
            (OURS, REDIS, Side::Ours),
            ("a script by hand, with fred", REDIS, Side::Theirs),
        ],
    ),
];

const OURS: &str = "ratelimit";
const MEMORY: &str = "memory, 10 000 keys, allowed, 1 thread, default clocks: governor, quanta";
const HTTP: &str = "http, in process, allowed: tower_governor";
const REDIS: &str = "redis, 64 async callers, coalesced";

const WIDTH: usize = 760;
const LINE: usize = 22;
const LEFT: usize = 190;
const WHOLE: f64 = 430.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_rates_are_told_in_millions_and_others_in_thousands() {
        assert_eq!(with_thousands(27_400_000.0), "27 million");
        assert_eq!(with_thousands(155_942.0), "156 000");
    }
}
