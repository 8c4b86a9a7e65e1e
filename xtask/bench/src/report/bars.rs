//! The rows that have a peer as a picture: a bar a row, as long as our share of the peer's figure,
//! and a line where the mark is.

use std::fmt::Write;

use crate::{
    report::{
        short,
        svg::{TOP, escape, sheet},
    },
    row::{Mark, Row},
};

/// A whole SVG file.
pub(crate) fn picture(rows: &[Row], command: &str) -> String {
    let rows: Vec<_> = rows.iter().filter_map(|row| Some((row, row.ratio()?))).collect();
    let height = TOP + LINE * rows.len() + LINE;
    let mut out = String::new();
    for (index, (row, ratio)) in rows.iter().enumerate() {
        let y = TOP + LINE * index;
        let fill = if row.met() == Some(false) { "#c0504d" } else { "#4f81bd" };
        let _ = write!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{LEFT}\" y=\"{y}\" width=\"{:.0}\" height=\"14\" fill=\"{fill}\"/>\n\
             <text x=\"{:.0}\" y=\"{}\">{}× of {}</text>\n",
            LEFT - 8,
            y + 12,
            escape(&row.name),
            length(*ratio),
            LEFT as f64 + length(*ratio) + 6.0,
            y + 12,
            short(*ratio),
            escape(&row.beside),
        );
        if let Mark::Ratio(reach) | Mark::AtLeast(reach) | Mark::AboveFloor { reach, .. } = row.mark
        {
            let x = LEFT as f64 + length(reach);
            let (top, bottom) = (y - 2, y + 16);
            let _ = writeln!(
                out,
                "<line x1=\"{x:.0}\" y1=\"{top}\" x2=\"{x:.0}\" y2=\"{bottom}\" stroke=\"black\"/>"
            );
        }
    }
    let title = format!(
        "{command}: our figure as a share of the peer's (less is better, but more of what is per second)"
    );
    sheet(WIDTH, height, &title, &out)
}

fn length(ratio: f64) -> f64 {
    ratio.min(RATIO_MAX) * WHOLE
}

const WIDTH: usize = 1_100;
const LINE: usize = 22;
const LEFT: usize = 420;
/// The length of a bar that is as long as the peer's.
const WHOLE: f64 = 200.0;
/// Longer bars are cut off.
const RATIO_MAX: f64 = 2.2;
