//! Charts as SVG that stretches to its place. What is written stands beside them, in HTML, so that it
//! keeps its size.

use std::fmt::Write;

/// The area under two counts, one on the other: those admitted, and those denied.
#[expect(clippy::cast_precision_loss, reason = "to show to people")]
pub(super) fn stacked(total: &[u64], denied: &[u64], label: &str) -> String {
    let most = total.iter().copied().max().unwrap_or(0).max(1) as f64;
    let height = |count: u64| format!("{:.2}", 100.0 - count as f64 * 100.0 / most);
    let mut admitted_path = String::from("M0 100");
    let mut denied_path = String::new();
    for (place, (total, denied)) in total.iter().zip(denied).enumerate() {
        let admitted = height(total - denied);
        let _ = write!(admitted_path, "V{admitted}H{}", place + 1);
        if 0 < *denied {
            let top = height(*total);
            let _ = write!(denied_path, "M{place} {admitted}V{top}h1V{admitted}z");
        }
    }
    let body = format!(
        "<path class=\"admitted\" d=\"{admitted_path}V100z\"/><path class=\"denied\" d=\"{denied_path}\"/>"
    );
    svg(total.len().max(1), label, &body)
}

/// A bar for each count. The root of a count is shown, so that few clients beside many are seen.
#[expect(clippy::cast_precision_loss, reason = "to show to people")]
pub(super) fn bars(counts: &[u64], labels: &[&str], first_denied: usize, label: &str) -> String {
    let most = (counts.iter().copied().max().unwrap_or(0).max(1) as f64).sqrt();
    let mut body = String::new();
    for (place, (count, label)) in counts.iter().zip(labels).enumerate() {
        let height = (*count as f64).sqrt() * 100.0 / most;
        let class = if place < first_denied { "admitted" } else { "denied" };
        let _ = write!(
            body,
            "<rect class=\"{class}\" x=\"{place}.08\" width=\".84\" y=\"{:.2}\" height=\"{height:.2}\">\
             <title>{label}: {count}</title></rect>",
            100.0 - height
        );
    }
    svg(counts.len(), label, &body)
}

/// A line through points, both axes logarithmic; the last is marked. Values are above zero.
pub(super) fn line(points: &[(f64, f64)], marked: Option<usize>, label: &str) -> String {
    let place = |value: f64, values: &dyn Fn(&(f64, f64)) -> f64| {
        let logarithms = || points.iter().map(|point| values(point).ln());
        let least = logarithms().fold(f64::INFINITY, f64::min);
        let most = logarithms().fold(f64::NEG_INFINITY, f64::max);
        if least < most { (value.ln() - least) / (most - least) } else { 0.5 }
    };
    let at = |point: &(f64, f64)| {
        let x = 4.0 + 92.0 * place(point.0, &|point| point.0);
        let y = 94.0 - 88.0 * place(point.1, &|point| point.1);
        format!("{x:.2} {y:.2}")
    };
    let path: Vec<_> = points.iter().map(at).collect();
    let dots: String = path.iter().map(|at| format!("M{at}h0")).collect();
    let mark = marked
        .and_then(|place| path.get(place))
        .map_or_else(String::new, |at| format!("<path class=\"mark\" d=\"M{at}h0\"/>"));
    let body = format!(
        "<path class=\"line\" d=\"M{}\"/><path class=\"dots\" d=\"{dots}\"/>{mark}",
        path.join("L")
    );
    svg(100, label, &body)
}

fn svg(width: usize, label: &str, body: &str) -> String {
    format!(
        "<svg role=\"img\" aria-label=\"{label}\" viewBox=\"0 0 {width} 100\" \
         preserveAspectRatio=\"none\">{body}</svg>"
    )
}
