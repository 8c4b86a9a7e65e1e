//! A scenario as the file has it: an algorithm with its configuration, and steps.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ratelimit_algorithms::{
    Adaptive, Algorithm, Align, CarryOver, ConfigError, FixedWindow, InFlight, LeakyBucket, Scope,
    SlidingWindowCounter, SlidingWindowLog, TokenBucket,
};
use serde_json::{Map, Value};

use crate::decimal;

/// One line of the file.
pub(crate) struct Scenario {
    fields: Map<String, Value>,
    pub(crate) limit: Option<Limit>,
    pub(crate) steps: Vec<Step>,
}

/// An algorithm and its configuration, which may yet prove impossible.
#[derive(Clone)]
pub(crate) struct Limit {
    algorithm: String,
    config: Map<String, Value>,
}

/// One step of a scenario.
pub(crate) struct Step {
    /// The step as it stands in the file.
    pub(crate) fields: Map<String, Value>,
    /// Microseconds since the epoch.
    pub(crate) at: i128,
    pub(crate) change: Option<Change>,
    pub(crate) action: Action,
}

/// A live change of limit, window or both, just before a step.
pub(crate) struct Change {
    set: Map<String, Value>,
    pub(crate) carry_over: CarryOver,
}

/// The action of a step.
pub(crate) enum Action {
    Check(Asked),
    Peek(Asked),
    /// Of a charge if there is one: that of the step with this number.
    Refund(Asked, Option<usize>),
    /// Of the charge of the step with this number.
    Extend(Asked, usize),
    Reset(Asked),
    All(Vec<(Limit, Asked)>),
}

/// A key, and the permits it requests.
pub(crate) struct Asked {
    pub(crate) key: String,
    pub(crate) cost: i128,
}

impl Scenario {
    pub(crate) fn parse(line: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(line).context("is not JSON")?;
        let Value::Object(fields) = value else { bail!("is not an object") };
        let limit = match fields.get("algorithm") {
            None => None,
            Some(_) => Some(Limit::parse(&fields)?),
        };
        let epoch = fields.get("epoch").map_or(Ok(0), decimal::nanos).context("field epoch")?;
        let steps = fields.get("steps").and_then(Value::as_array).context("field steps")?;
        let parse = |(number, step): (usize, &Value)| {
            Step::parse(step, epoch).with_context(|| format!("step {number}"))
        };
        let steps = steps.iter().enumerate().map(parse).collect::<Result<Vec<_>>>()?;
        for (number, step) in steps.iter().enumerate() {
            let Some(of) = step.action.charge() else { continue };
            let is_check = steps[..number].get(of).map(|step| &step.action);
            let is_check = matches!(is_check, Some(Action::Check(_)));
            ensure!(is_check, "step {number}: field of: step {of} is no check before it");
        }
        let needs_limit = |step: &Step| !matches!(step.action, Action::All(_));
        ensure!(limit.is_some() || !steps.iter().any(needs_limit), "field algorithm is missing");
        Ok(Self { fields, limit, steps })
    }

    /// The scenario with these steps instead.
    pub(crate) fn with_steps(mut self, steps: Vec<Map<String, Value>>) -> Value {
        let steps = steps.into_iter().map(Value::Object).collect();
        self.fields.insert("steps".to_owned(), Value::Array(steps));
        Value::Object(self.fields)
    }

    pub(crate) fn id(&self) -> &str {
        self.fields.get("id").and_then(Value::as_str).unwrap_or("(no id)")
    }

    /// The name of the algorithm; empty if all steps bring their own.
    pub(crate) fn algorithm(&self) -> &str {
        self.limit.as_ref().map_or("", |limit| &limit.algorithm)
    }
}

impl Step {
    fn parse(value: &Value, epoch: i128) -> Result<Self> {
        let fields = value.as_object().context("is not an object")?;
        let t =
            decimal::nanos(fields.get("t").context("field t is missing")?).context("field t")?;
        let change = fields.get("set").map(|set| Change::parse(set, fields.get("carry")));
        Ok(Self {
            at: (epoch + t).div_euclid(1_000),
            change: change.transpose()?,
            action: Action::parse(fields)?,
            fields: fields.clone(),
        })
    }
}

impl Action {
    fn parse(fields: &Map<String, Value>) -> Result<Self> {
        if let Some(all) = fields.get("all") {
            let all = all.as_array().context("field all is not a list")?;
            let parse = |one: &Value| {
                let fields = one.as_object().context("field all: not an object")?;
                Ok((Limit::parse(fields)?, Asked::parse(fields)?))
            };
            return Ok(Self::All(all.iter().map(parse).collect::<Result<_>>()?));
        }
        let asked = Asked::parse(fields)?;
        match fields.get("op").map(|op| op.as_str().unwrap_or_default()) {
            None => Ok(Self::Check(asked)),
            Some("peek") => Ok(Self::Peek(asked)),
            Some("refund") => Ok(Self::Refund(asked, charge(fields)?)),
            Some("extend") => {
                Ok(Self::Extend(asked, charge(fields)?.context("field of is missing")?))
            }
            Some("reset") => Ok(Self::Reset(asked)),
            Some(other) => bail!("field op: {other:?} is none of peek, refund, extend, reset"),
        }
    }

    /// The number of the step whose charge it is about.
    const fn charge(&self) -> Option<usize> {
        match self {
            Self::Refund(_, of) => *of,
            Self::Extend(_, of) => Some(*of),
            _ => None,
        }
    }
}

fn charge(fields: &Map<String, Value>) -> Result<Option<usize>> {
    let Some(of) = fields.get("of") else { return Ok(None) };
    let of = decimal::whole(of).context("field of")?;
    Ok(Some(usize::try_from(of).context("field of")?))
}

impl Asked {
    fn parse(fields: &Map<String, Value>) -> Result<Self> {
        let key = fields.get("key").and_then(Value::as_str).context("field key")?.to_owned();
        let cost = fields.get("cost").map_or(Ok(1), decimal::whole).context("field cost")?;
        Ok(Self { key, cost })
    }
}

impl Change {
    fn parse(set: &Value, carry: Option<&Value>) -> Result<Self> {
        let set = set.as_object().context("field set is not an object")?.clone();
        let is_known = |name: &String| matches!(name.as_str(), "limit" | "window");
        ensure!(set.keys().all(is_known), "field set: only limit and window can be set");
        let carry_over = match carry.map(|carry| carry.as_str().unwrap_or_default()) {
            None | Some("as_is") => CarryOver::AsIs,
            Some("reset") => CarryOver::Reset,
            Some("proportional") => CarryOver::Proportional,
            Some(other) => bail!("field carry: {other:?} is none of as_is, reset, proportional"),
        };
        Ok(Self { set, carry_over })
    }
}

impl Limit {
    fn parse(fields: &Map<String, Value>) -> Result<Self> {
        let algorithm =
            fields.get("algorithm").and_then(Value::as_str).context("field algorithm")?;
        let config = fields.get("config").and_then(Value::as_object).context("field config")?;
        let own: &[&str] = match algorithm {
            "fixed_window" => &["align"],
            "sliding_window_log" | "sliding_window_counter" => &[],
            "token_bucket" => &["refill_rate"],
            "leaky_bucket" => &["leak_rate"],
            "in_flight" => &[],
            "adaptive" => &[
                "burst_multiplier",
                "adaptive_window",
                "high_load_threshold",
                "low_load_threshold",
                "penalty",
                "sensor",
            ],
            other => bail!("field algorithm: there is no {other:?}"),
        };
        let length = if algorithm == "in_flight" { "held_at_most" } else { "window" };
        for (name, value) in config {
            ensure!(
                ["limit", length].contains(&&**name) || own.contains(&&**name),
                "field config.{name}: {algorithm} has no such setting"
            );
            let is_fit = if let "align" | "sensor" = name.as_str() {
                value.is_string()
            } else {
                value.is_number()
            };
            ensure!(is_fit, "field config.{name}: {value}");
        }
        ensure!(config.contains_key("limit"), "field config.limit is missing");
        ensure!(config.contains_key(length), "field config.{length} is missing");
        Ok(Self { algorithm: algorithm.to_owned(), config: config.clone() })
    }

    /// The same algorithm after a live change.
    pub(crate) fn changed(&self, change: &Change) -> Self {
        let mut config = self.config.clone();
        config.extend(change.set.clone());
        Self { algorithm: self.algorithm.clone(), config }
    }

    /// The algorithm, if its numbers are valid.
    pub(crate) fn algorithm(&self) -> Result<Algorithm, ConfigError> {
        let limit = self.limit()?;
        let window = self.length("window").unwrap_or_default();
        match self.algorithm.as_str() {
            "fixed_window" => FixedWindow::per(limit, window).align(self.align()?).try_into(),
            "sliding_window_log" => SlidingWindowLog::per(limit, window).try_into(),
            "sliding_window_counter" => SlidingWindowCounter::per(limit, window).try_into(),
            "token_bucket" => {
                let bucket = TokenBucket::per(limit, window);
                let rate = self.number("refill_rate");
                rate.map_or(bucket, |rate| bucket.refill_rate(rate)).try_into()
            }
            "leaky_bucket" => {
                let bucket = LeakyBucket::per(limit, window);
                self.number("leak_rate").map_or(bucket, |rate| bucket.leak_rate(rate)).try_into()
            }
            "in_flight" => {
                let length = self.length("held_at_most").unwrap_or_default();
                InFlight::limit(limit).held_at_most(length).try_into()
            }
            _ => self.adaptive(limit, window)?.try_into(),
        }
    }

    fn adaptive(&self, limit: u64, window: Duration) -> Result<Adaptive, ConfigError> {
        let mut adaptive = Adaptive::per(limit, window).scope(match self.text("sensor") {
            None | Some("shared") => Scope::Shared,
            Some("per_key") => Scope::PerKey,
            Some(_) => return Err(ConfigError::Unrepresentable { field: "sensor" }),
        });
        if let Some(length) = self.length("adaptive_window") {
            adaptive = adaptive.adaptive_window(length);
        }
        if let Some(multiplier) = self.number("burst_multiplier") {
            adaptive = adaptive.burst_multiplier(multiplier);
        }
        if let Some(threshold) = self.number("high_load_threshold") {
            adaptive = adaptive.high_load_threshold(threshold);
        }
        if let Some(threshold) = self.number("low_load_threshold") {
            adaptive = adaptive.low_load_threshold(threshold);
        }
        if let Some(penalty) = self.number("penalty") {
            adaptive = adaptive.penalty(penalty);
        }
        Ok(adaptive)
    }

    fn align(&self) -> Result<Align, ConfigError> {
        match self.text("align") {
            None | Some("epoch") => Ok(Align::Epoch),
            Some("first") => Ok(Align::First),
            Some(_) => Err(ConfigError::Unrepresentable { field: "align" }),
        }
    }

    fn limit(&self) -> Result<u64, ConfigError> {
        let limit = self.config.get("limit").and_then(|limit| decimal::whole(limit).ok());
        let limit = limit.ok_or(ConfigError::Unrepresentable { field: "limit" })?;
        Ok(u64::try_from(limit).unwrap_or(if limit < 0 { 0 } else { u64::MAX }))
    }

    /// A length in seconds; none that is negative.
    fn length(&self, name: &str) -> Option<Duration> {
        let nanos = decimal::nanos(self.config.get(name)?).ok()?;
        let nanos = u128::try_from(nanos).unwrap_or(0);
        Some(Duration::new(
            u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX),
            u32::try_from(nanos % 1_000_000_000).unwrap_or(0),
        ))
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.config.get(name)?.as_f64()
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.config.get(name)?.as_str()
    }
}
