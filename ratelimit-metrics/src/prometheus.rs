//! Snapshots as text in the format that Prometheus scrapes.

use std::{
    fmt::{self, Display, Write as _},
    time::Duration,
};

use crate::{
    series::{CALLS, COST, DECISIONS, ERRORS, LATENCY, NEAR_LIMIT, Series, algorithm_label},
    statistics::{LimiterTotals, Snapshot},
};

/// The `Content-Type` of [`Snapshot::to_prometheus`].
pub const PROMETHEUS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Snapshot {
    /// Returns the counters as text, in the format that Prometheus scrapes, version 0.0.4.
    ///
    /// Every limiter has the same series, including those at zero.
    #[must_use]
    pub fn to_prometheus(&self) -> String {
        let mut text = Text(String::new());
        text.calls(self);
        text.decisions(&self.limiters);
        text.errors(&self.limiters);
        text.costs(&self.limiters);
        text.near_limit(&self.limiters);
        text.latency(&self.limiters);
        text.0
    }
}

struct Text(String);

impl Text {
    fn calls(&mut self, snapshot: &Snapshot) {
        let calls = &snapshot.calls;
        self.family(CALLS, "counter");
        for (outcome, count) in [
            ("allow", calls.allowed),
            ("deny", calls.denied),
            ("done", calls.done),
            ("error", calls.errors),
        ] {
            self.sample(CALLS.name, &[("outcome", &outcome)], count);
        }
    }

    fn decisions(&mut self, limiters: &[LimiterTotals]) {
        self.family(DECISIONS, "counter");
        for limiter in limiters {
            for (outcome, counts) in [
                ("allow", &limiter.allowed),
                ("deny", &limiter.denied),
                ("withhold", &limiter.withheld),
                ("done", &limiter.done),
            ] {
                for (source, count) in counts.each() {
                    self.of(
                        DECISIONS.name,
                        limiter,
                        &[("outcome", &outcome), ("source", &source)],
                        count,
                    );
                }
            }
        }
    }

    fn errors(&mut self, limiters: &[LimiterTotals]) {
        self.family(ERRORS, "counter");
        for limiter in limiters {
            for (kind, count) in limiter.errors.each() {
                self.of(ERRORS.name, limiter, &[("kind", &kind)], count);
            }
        }
    }

    fn costs(&mut self, limiters: &[LimiterTotals]) {
        self.family(COST, "counter");
        for limiter in limiters {
            self.of(COST.name, limiter, &[("outcome", &"allow")], limiter.cost_allowed);
            self.of(COST.name, limiter, &[("outcome", &"deny")], limiter.cost_denied);
        }
    }

    fn near_limit(&mut self, limiters: &[LimiterTotals]) {
        self.family(NEAR_LIMIT, "counter");
        for limiter in limiters {
            self.of(NEAR_LIMIT.name, limiter, &[], limiter.near_limit);
        }
    }

    fn latency(&mut self, limiters: &[LimiterTotals]) {
        self.family(LATENCY, "histogram");
        for limiter in limiters {
            let name = "ratelimit_latency_seconds_bucket";
            let latency = &limiter.latency;
            for (bound, count) in &latency.no_longer_than {
                self.of(name, limiter, &[("le", &Seconds(*bound))], count);
            }
            self.of(name, limiter, &[("le", &"+Inf")], latency.measured);
            self.of("ratelimit_latency_seconds_sum", limiter, &[], Seconds(latency.sum));
            self.of("ratelimit_latency_seconds_count", limiter, &[], latency.measured);
        }
    }

    fn family(&mut self, Series { name, help }: Series, kind: &str) {
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// Writes a sample of a limiter.
    fn of(&mut self, name: &str, limiter: &LimiterTotals, more: Labels<'_>, value: impl Display) {
        let algorithm = algorithm_label(limiter.algorithm);
        let own: Labels<'_> = &[("limiter", &limiter.limiter), ("algorithm", &algorithm)];
        self.sample(name, &[own, more].concat(), value);
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl Display) {
        self.write(format_args!("{name}"));
        for (index, (label, of)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            self.write(format_args!("{before}{label}=\"{}\"", Escaped(*of)));
        }
        let after = if labels.is_empty() { "" } else { "}" };
        self.write(format_args!("{after} {value}\n"));
    }

    fn write(&mut self, text: fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("a string takes any text");
    }
}

type Labels<'a> = &'a [(&'static str, &'a dyn Display)];

/// Seconds, exactly: with as many decimals as needed.
struct Seconds(Duration);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:09}", self.0.as_secs(), self.0.subsec_nanos());
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// The value of a label with its special characters escaped.
struct Escaped<'a>(&'a dyn Display);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for sign in self.0.to_string().chars() {
            match sign {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                sign => f.write_char(sign)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        assert_eq!(Escaped(&"a\\b\"c\nd").to_string(), r#"a\\b\"c\nd"#);
    }

    #[test]
    fn seconds_are_exact() {
        for (nanos, text) in
            [(0, "0"), (1024, "0.000001024"), (1 << 34, "17.179869184"), (2_000_000_000, "2")]
        {
            assert_eq!(Seconds(Duration::from_nanos(nanos)).to_string(), text);
        }
    }
}
