//! A picture of a simulated minute: what all holders admitted beside the bound, with a kill in the middle.
//!
//! It is read in light and dark, by itself and within the pages of rustdoc, whose colors it takes there.

use std::fmt::Write;

use anyhow::Result;

use crate::leases::{
    simulation::{KILLED_MS, LENGTH_MS, Minute, SLOT_MS, STARTED_MS, simulate},
    terms::{LIMIT, PROCESSES, REQUESTS_PER_SECOND, Terms, WINDOW},
};

/// An SVG file.
pub(crate) fn picture(share: f64) -> Result<String> {
    let terms = Terms::new(share)?;
    let minute = simulate(&terms)?;
    let bound = LIMIT + terms.excess_max;
    let around = terms.excess_max.max(LIMIT / 1_000);
    let most = minute.most;
    let seconds = WINDOW.as_secs();
    let title = format!(
        "Admitted by {PROCESSES} hosts together in the last {seconds} s: at most {}, the limit is {}, and the \
         bound {}",
        spaced(most),
        spaced(LIMIT),
        spaced(bound)
    );
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" class=\"leases\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         width=\"{WIDTH}\" height=\"{HEIGHT}\" style=\"max-width:100%;height:auto\">\n<title>{title}</title>\n{STYLE}\
         <text class=\"ink\" x=\"{LEFT}\" y=\"18\">Admitted by {PROCESSES} hosts together in the last {seconds} s</text>\n\
         <text class=\"muted\" x=\"{LEFT}\" y=\"36\">{} requests a second, leases of {} ms; one host is \
         killed and comes back; simulated</text>\n",
        spaced(PROCESSES as u64 * REQUESTS_PER_SECOND),
        terms.length.as_millis(),
    );
    let whole = Panel { top: 52.0, height: 150.0, low: 0, high: bound + LIMIT / 20 };
    let (low, high) = (LIMIT.saturating_sub(3 * around), bound + around / 2);
    let near = Panel { top: 236.0, height: 150.0, low, high };
    whole.draw(&mut out, &minute, &[(0, "0"), (LIMIT, "limit")], bound);
    let names = [(LIMIT, "limit"), (bound, "bound")];
    let _ = writeln!(
        out,
        "<text class=\"muted\" x=\"{LEFT}\" y=\"228\">the same, close to the limit: {} at most, {} above it</text>",
        spaced(most),
        most.saturating_sub(LIMIT)
    );
    near.draw(&mut out, &minute, &names, bound);
    for second in (0..=LENGTH_MS / 1_000).step_by(10) {
        let x = x(second * 1_000);
        let _ = writeln!(out, "<text class=\"muted mid\" x=\"{x:.0}\" y=\"404\">{second} s</text>");
    }
    out.push_str("</svg>\n");
    Ok(out)
}

/// A chart of the counts between two numbers.
struct Panel {
    top: f64,
    height: f64,
    low: u64,
    high: u64,
}

impl Panel {
    fn draw(&self, out: &mut String, minute: &Minute, names: &[(u64, &str)], bound: u64) {
        let (right, base) = (x(LENGTH_MS), self.top + self.height);
        for (millis, name) in [(KILLED_MS, "killed"), (STARTED_MS, "back")] {
            let (x, y) = (x(millis), base - 6.0);
            let _ = write!(
                out,
                "<path class=\"event\" d=\"M{x:.1} {:.0}V{base:.0}\"/>\n\
                 <text class=\"muted\" x=\"{:.1}\" y=\"{y:.0}\">{name}</text>\n",
                self.top,
                x + 5.0
            );
        }
        let line = self.line(&minute.admitted);
        let _ = write!(
            out,
            "<path class=\"area\" d=\"M{LEFT} {base:.0}L{line}V{base:.0}Z\"/>\n\
             <path class=\"line\" d=\"M{line}\"/>\n\
             <path class=\"limit\" d=\"M{LEFT} {:.1}H{right:.0}\"/>\n\
             <path class=\"bound\" d=\"M{LEFT} {:.1}H{right:.0}\"/>\n",
            self.y(LIMIT),
            self.y(bound)
        );
        for (count, name) in names {
            let y = self.y(*count) + 4.0;
            let name =
                if *count == 0 { "0".to_owned() } else { format!("{name} {}", spaced(*count)) };
            let _ = writeln!(
                out,
                "<text class=\"muted end\" x=\"{}\" y=\"{y:.1}\">{name}</text>",
                LEFT - 6.0
            );
        }
    }

    /// The corners of the line, but for those between two equal ones.
    fn line(&self, counts: &[u64]) -> String {
        let mut line = String::new();
        for (index, count) in counts.iter().enumerate() {
            let is_flat =
                0 < index && counts[index - 1] == *count && counts.get(index + 1) == Some(count);
            if !is_flat {
                let (x, y) = (x((index as u64 + 1) * SLOT_MS), self.y(*count));
                let _ = write!(line, "{}{x:.1} {y:.1}", if line.is_empty() { "" } else { " " });
            }
        }
        line
    }

    /// The height of a count; of those below the panel that of its base.
    fn y(&self, count: u64) -> f64 {
        let part = count.saturating_sub(self.low) as f64 / (self.high - self.low) as f64;
        self.top + self.height * (1.0 - part)
    }
}

fn x(millis: u64) -> f64 {
    LEFT + WIDE * millis as f64 / LENGTH_MS as f64
}

/// A number with a space between thousands.
fn spaced(number: u64) -> String {
    match number {
        0..1_000 => number.to_string(),
        _ => format!("{} {:03}", spaced(number / 1_000), number % 1_000),
    }
}

const WIDTH: u64 = 760;
const HEIGHT: u64 = 414;
const LEFT: f64 = 92.0;
const WIDE: f64 = 650.0;

/// Without an empty line, which would end it in Markdown.
const STYLE: &str = "<style>
.leases { --line: #0b7a60; --over: #c2410c; --text: var(--main-color, #1a1f26); }
@media (prefers-color-scheme: dark) { .leases { --line: #45cfa3; --over: #ff8d61; --text: var(--main-color, #e7eaee); } }
.leases text { font: 12px system-ui, sans-serif; fill: var(--text); }
.leases .ink { font-size: 14px; font-weight: 600; }
.leases .muted { opacity: .75; }
.leases .mid { text-anchor: middle; }
.leases .end { text-anchor: end; }
.leases path { fill: none; stroke-width: 1.5; }
.leases .area { fill: var(--line); opacity: .14; }
.leases .line { stroke: var(--line); stroke-linejoin: round; }
.leases .limit { stroke: var(--text); }
.leases .bound { stroke: var(--over); stroke-dasharray: 5 4; }
.leases .event { stroke: var(--text); opacity: .5; }
</style>
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_in_docs_is_what_the_command_draws() {
        let kept = include_str!("../../../../docs/leases.svg");
        assert!(
            picture(0.01).unwrap() == kept,
            "cargo xtask demo --backend redis --lease 1% --svg docs/leases.svg draws another one"
        );
    }

    #[test]
    fn every_share_is_drawn_and_markdown_keeps_it_whole() {
        for share in [0.0, 0.000_1, 0.01, 1.0] {
            let picture = picture(share).unwrap();
            assert!(!picture.trim_end().contains("\n\n") && !picture.contains("NaN"), "{share}");
        }
    }

    #[test]
    fn thousands_are_apart() {
        assert_eq!(
            [0, 999, 1_000, 10_050, 1_000_007].map(spaced).join("|"),
            "0|999|1 000|10 050|1 000 007"
        );
    }
}
