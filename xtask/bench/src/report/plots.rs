//! The rows about growth as small plots: a point a row, its figure over its number.
//!
//! A row called `growth, WHAT: NUMBER` is a point of the plot called WHAT. Numbers are spread as
//! their logarithms are, so that a cost which grows with the logarithm is a straight line.

use std::fmt::Write;

use crate::{
    report::{
        short,
        svg::{TOP, sheet},
    },
    row::Row,
};

/// A whole SVG file.
pub(crate) fn picture(rows: &[Row], command: &str) -> String {
    let plots = plots(rows);
    let height = TOP + PLOT_HEIGHT * plots.len().div_ceil(COLUMNS);
    let mut out = String::new();
    for (index, plot) in plots.iter().enumerate() {
        let (x, y) = (PLOT_WIDTH * (index % COLUMNS), TOP + PLOT_HEIGHT * (index / COLUMNS));
        let _ = write!(out, "<g transform=\"translate({x},{y})\">\n{}</g>\n", draw(plot));
    }
    let title = format!("{command}: nanoseconds a check, medians");
    sheet(PLOT_WIDTH * COLUMNS, height, &title, &out)
}

struct Plot<'a> {
    name: &'a str,
    /// Numbers and figures, in order.
    points: Vec<(f64, f64)>,
}

fn plots(rows: &[Row]) -> Vec<Plot<'_>> {
    let mut plots: Vec<Plot<'_>> = Vec::new();
    for row in rows {
        let Some((name, number)) = point(&row.name) else { continue };
        let point = (number, row.ours.median());
        match plots.iter_mut().find(|plot| plot.name == name) {
            Some(plot) => plot.points.push(point),
            None => plots.push(Plot { name, points: vec![point] }),
        }
    }
    plots
}

fn point(row: &str) -> Option<(&str, f64)> {
    let (name, number) = row.strip_prefix("growth, ")?.rsplit_once(": ")?;
    Some((name, number.parse().ok()?))
}

fn draw(Plot { name, points }: &Plot<'_>) -> String {
    let most = |each: fn(&(f64, f64)) -> f64| points.iter().map(each).fold(1.0, f64::max);
    let (widest, highest) = (most(|point| point.0.ln()), most(|point| point.1));
    let place = |&(number, figure): &(f64, f64)| {
        (LEFT + WIDE * number.ln() / widest, BASE - HIGH * figure / highest)
    };
    let mut out = format!("<text x=\"{LEFT}\" y=\"14\">{name}</text>\n<polyline points=\"");
    for (x, y) in points.iter().map(place) {
        let _ = write!(out, "{x:.0},{y:.0} ");
    }
    out.push_str("\" fill=\"none\" stroke=\"#4f81bd\" stroke-width=\"2\"/>\n");
    for point in points {
        let ((x, y), (number, figure)) = (place(point), *point);
        let _ = write!(
            out,
            "<circle cx=\"{x:.0}\" cy=\"{y:.0}\" r=\"3\" fill=\"#4f81bd\"/>\n\
             <text x=\"{x:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{}</text>\n\
             <text x=\"{x:.0}\" y=\"{:.0}\" text-anchor=\"middle\" fill=\"#666\">{number}</text>\n",
            y - 8.0,
            short(figure),
            BASE + 18.0,
        );
    }
    out
}

const COLUMNS: usize = 2;
const PLOT_WIDTH: usize = 460;
const PLOT_HEIGHT: usize = 180;
const LEFT: f64 = 40.0;
const WIDE: f64 = 370.0;
const BASE: f64 = 140.0;
const HIGH: f64 = 90.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_about_growth_is_a_point_and_no_other_is() {
        assert_eq!(point("growth, keys: 1000"), Some(("keys", 1_000.0)));
        assert_eq!(point("memory, flood of new keys, same clock"), None);
    }
}
