//! Compares decisions with those in the file, by the rules of the traces' notes.
//!
//! A field named in `differs` is expected to be what `right` says (anything, where `right` says
//! nothing), any other what was recorded; decisions and `remaining` exactly, seconds within a
//! millisecond. Values that this project defines differently on purpose are not compared.

use std::fmt;

use serde_json::{Map, Value};

use crate::{decimal, scenario::Scenario};

/// The differences, and the number of values compared.
#[derive(Default)]
pub(crate) struct Differences {
    lines: Vec<String>,
    scenarios: usize,
    compared: usize,
}

/// Of an adaptive scenario's decisions, so many in a hundred may differ: its sensor counts in
/// sub-windows.
const ADAPTIVE_PERCENT: usize = 2;

const TOLERANCE_NANOS: i128 = 1_000_000;

impl Differences {
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(crate) fn compare(&mut self, scenario: &Scenario, decided: &[Map<String, Value>]) {
        self.scenarios += 1;
        let mut lines = Vec::new();
        for (number, (step, decided)) in scenario.steps.iter().zip(decided).enumerate() {
            for field in fields(scenario.algorithm()) {
                let Some(expected) = expected(&step.fields, field) else { continue };
                if is_other_meaning(scenario.algorithm(), field, &step.fields, decided) {
                    continue;
                }
                self.compared += 1;
                let found = decided.get(*field);
                if !agrees(expected, found, decided) {
                    let found = found.or_else(|| decided.get("error")).unwrap_or(&Value::Null);
                    lines.push(format!(
                        "{} step {number}: {field} is {found}, expected {expected}",
                        scenario.id()
                    ));
                }
            }
        }
        let allowed = match scenario.algorithm() {
            "adaptive" => scenario.steps.len() * ADAPTIVE_PERCENT / 100,
            _ => 0,
        };
        if allowed < lines.len() {
            self.lines.append(&mut lines);
        }
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        let Self { lines, scenarios, compared } = self;
        writeln!(f, "{scenarios} scenarios, {compared} values compared, {} differ", lines.len())
    }
}

/// The fields that mean the same in the file and here.
fn fields(algorithm: &str) -> &'static [&'static str] {
    match algorithm {
        "adaptive" => &["allowed"],
        "sliding_window_counter" => &["allowed", "remaining", "retry_after"],
        _ => &["allowed", "remaining", "reset_after", "retry_after"],
    }
}

/// A log's reset_after is until it is as good as new; the original's, of a denial, is not. A cost
/// that can never fit is an error here, so there is nothing but the refusal to compare; and so is
/// a cost of nothing, which the original admits.
fn is_other_meaning(
    algorithm: &str,
    field: &str,
    step: &Map<String, Value>,
    decided: &Map<String, Value>,
) -> bool {
    if step.get("cost").is_some_and(|cost| decimal::nanos(cost).is_ok_and(|cost| cost == 0)) {
        return true;
    }
    let is_denied = decided.get("allowed") == Some(&Value::Bool(false));
    let is_refused = decided.get("error").is_some_and(|error| error == "Cost");
    match field {
        "reset_after" => is_refused || (algorithm == "sliding_window_log" && is_denied),
        "remaining" => is_refused,
        _ => false,
    }
}

fn expected<'a>(step: &'a Map<String, Value>, field: &str) -> Option<&'a Value> {
    let differs = step.get("differs").and_then(Value::as_array);
    let differs = |name: &str| differs.is_some_and(|fields| fields.iter().any(|one| one == name));
    if differs("*") {
        return None;
    }
    if differs(field) { step.get("right")?.get(field) } else { step.get(field) }
}

fn agrees(expected: &Value, found: Option<&Value>, decided: &Map<String, Value>) -> bool {
    if decided.get("error").is_some_and(|error| error == "Cost") {
        // It can never be admitted: a refusal, without a time to retry.
        return matches!(expected, Value::Bool(false) | Value::Null);
    }
    match (expected, found) {
        (Value::Number(_), Some(found @ Value::Number(_))) => {
            match (decimal::nanos(expected), decimal::nanos(found)) {
                (Ok(expected), Ok(found)) => (expected - found).abs() <= TOLERANCE_NANOS,
                _ => false,
            }
        }
        (expected, Some(found)) => expected == found,
        (_, None) => false,
    }
}
