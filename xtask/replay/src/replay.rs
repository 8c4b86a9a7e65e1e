//! Runs a scenario from scratch.

use std::sync::Arc;

use anyhow::Result;
use ratelimit_algorithms::{
    Algorithm, Backend, BackendError, CarryOver, ConfigError, Decision, Error, ErrorKind, Limits,
    LimitsDecision, ManualClock, Micros, Policy, Timestamp,
};
use ratelimit_core::{Action as StoreAction, Batch, Check, Key, Receipt};
use serde_json::{Map, Value, json};

use crate::{
    decimal,
    engine::Engine,
    scenario::{Action, Asked, Limit, Scenario, Step},
};

/// The fields of a step that say what was decided; they are replaced.
const DECIDED: [&str; 10] = [
    "allowed",
    "remaining",
    "reset_after",
    "retry_after",
    "each",
    "error",
    "meta",
    "differs",
    "right",
    "note",
];

type Limiter = ratelimit_algorithms::Limiter<Arc<dyn Backend>>;

/// The scenario's steps, with what `engine` decided.
pub(crate) async fn replay(
    scenario: &Scenario,
    engine: &mut Engine,
) -> Result<Vec<Map<String, Value>>> {
    let clock = ManualClock::default().with_retention(Micros::MAX);
    let store = engine.store(clock.clone()).await?;
    let (limiters, limit) = (Vec::new(), scenario.limit.clone());
    let mut stage = Stage { store, clock, limiters, limit, receipts: Vec::new() };
    let mut main = stage.main(CarryOver::AsIs);
    let mut steps = Vec::new();
    for step in &scenario.steps {
        let mut fields = step.fields.clone();
        DECIDED.iter().for_each(|name| drop(fields.shift_remove(*name)));
        stage.receipts.push(None);
        let decided = stage.step(step, &mut main).await;
        fields.extend(decided.unwrap_or_else(|error| object(json!({ "error": error.0 }))));
        steps.push(fields);
    }
    Ok(steps)
}

/// A store, and the limiters that a scenario uses on it.
struct Stage {
    store: Arc<dyn Backend>,
    clock: ManualClock,
    /// Those of composites.
    limiters: Vec<Limiter>,
    limit: Option<Limit>,
    /// Of each step's charge, if it is a check that was decided.
    receipts: Vec<Option<Receipt>>,
}

/// The kind of an error, as it is printed.
struct Kinded(String);

impl Stage {
    async fn step(
        &mut self,
        step: &Step,
        main: &mut Result<Limiter, ConfigError>,
    ) -> Result<Map<String, Value>, Kinded> {
        if let (Some(change), Some(limit)) = (&step.change, &self.limit) {
            let changed = limit.changed(change);
            changed.algorithm()?;
            self.limit = Some(changed);
            // The old limiter goes first: a name is taken for as long as its limiter lives.
            *main = Err(ConfigError::DuplicateName);
            *main = self.main(change.carry_over);
        }
        let now = u64::try_from(step.at).ok().and_then(Timestamp::from_micros);
        self.clock.set(now.ok_or_else(|| Kinded("Clock".to_owned()))?);
        let decision = match &step.action {
            Action::All(all) => return Ok(object(self.all(all).await?)),
            Action::Check(asked) => {
                let limiter = as_ref(main)?;
                let decision = limiter.check(&asked.key).cost(asked.cost()).await?;
                let receipt = Receipt::of(&decision, limiter.policies(), asked.cost());
                *self.receipts.last_mut().expect("a step has a place") = Some(receipt);
                decision
            }
            Action::Refund(asked, None) => {
                apply(as_ref(main)?, asked, StoreAction::Refund, None).await?
            }
            Action::Refund(asked, Some(of)) => {
                let receipt = self.receipt(*of)?;
                let action = StoreAction::Refund;
                apply(as_ref(main)?, asked, action, Some(receipt)).await?
            }
            Action::Extend(asked, of) => {
                let receipt = self.receipt(*of)?;
                let action = StoreAction::Extend;
                let decision = apply(as_ref(main)?, asked, action, Some(receipt)).await?;
                if decision.is_allowed() {
                    self.receipts[*of] = Some(receipt.extended(&decision));
                }
                decision
            }
            Action::Reset(asked) => {
                as_ref(main)?.reset(&asked.key).await?;
                return Ok(Map::new());
            }
            Action::Peek(asked) => {
                let limits = Limits::new(as_ref(main)?, &asked.key, asked.cost());
                limits.peek().await?.each()[0]
            }
        };
        Ok(object(shown(&decision)))
    }

    /// The receipt of the charge of a step that was decided.
    fn receipt(&self, step: usize) -> Result<Receipt, Kinded> {
        self.receipts[step].ok_or_else(|| Kinded("Receipt".to_owned()))
    }

    async fn all(&mut self, all: &[(Limit, Asked)]) -> Result<Value, Kinded> {
        let limiters =
            all.iter().map(|(limit, _)| self.limiter(limit)).collect::<Result<Vec<_>, _>>()?;
        let mut asked = limiters.iter().zip(all);
        let Some((first, (_, Asked { key, .. }))) = asked.next() else {
            return Ok(json!({ "allowed": true, "each": [] }));
        };
        let mut limits = Limits::new(first, key, all[0].1.cost());
        for (limiter, (_, asked)) in asked {
            limits = limits.and(limiter, &asked.key, asked.cost());
        }
        let answer: LimitsDecision = limits.check().await?;
        let each: Vec<_> = answer.each().iter().map(shown).collect();
        Ok(json!({ "allowed": answer.is_allowed(), "each": each }))
    }

    /// The limiter of a composite's part: one for each algorithm and configuration.
    fn limiter(&mut self, limit: &Limit) -> Result<Limiter, ConfigError> {
        let algorithm = limit.algorithm()?;
        let is_it = |limiter: &&Limiter| *limiter.policies().algorithm() == algorithm;
        if let Some(limiter) = self.limiters.iter().find(is_it) {
            return Ok(limiter.clone());
        }
        let limiter =
            self.build(&format!("part-{}", self.limiters.len()), algorithm, CarryOver::AsIs)?;
        self.limiters.push(limiter.clone());
        Ok(limiter)
    }

    /// The limiter of the scenario's own algorithm.
    fn main(&self, carry_over: CarryOver) -> Result<Limiter, ConfigError> {
        let limit = self.limit.as_ref().ok_or(ConfigError::BadName)?;
        self.build("scenario", limit.algorithm()?, carry_over)
    }

    fn build(
        &self,
        name: &str,
        algorithm: Algorithm,
        carry_over: CarryOver,
    ) -> Result<Limiter, ConfigError> {
        let policy = Policy::new(name, algorithm)?.with_carry_over(carry_over);
        Limiter::with_policies(Arc::clone(&self.store), policy)
    }
}

impl Asked {
    /// The cost; one that is negative is as wrong as none.
    fn cost(&self) -> u64 {
        u64::try_from(self.cost).unwrap_or(if self.cost < 0 { 0 } else { u64::MAX })
    }
}

fn as_ref(main: &Result<Limiter, ConfigError>) -> Result<&Limiter, ConfigError> {
    main.as_ref().map_err(|error| *error)
}

/// An action without options of its own, with the whole of its decision.
async fn apply(
    limiter: &Limiter,
    asked: &Asked,
    action: StoreAction,
    receipt: Option<Receipt>,
) -> Result<Decision, Error> {
    let check = Check::new(limiter.policies(), Key::new(&asked.key)?, asked.cost())?;
    let check = check.with_receipt(receipt);
    let decisions = limiter.backend().apply(Batch::one(&check), action).await?;
    Ok(decisions.into_first().ok_or(BackendError::unknown(ErrorKind::Protocol))?)
}

fn shown(decision: &Decision) -> Value {
    json!({
        "allowed": decision.is_allowed(),
        "remaining": decision.remaining,
        "reset_after": decimal::seconds(decision.reset_after.as_micros()),
        "retry_after": decimal::seconds(decision.retry_after().as_micros()),
    })
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

impl From<ConfigError> for Kinded {
    fn from(_: ConfigError) -> Self {
        Self("Config".to_owned())
    }
}

impl From<Error> for Kinded {
    fn from(error: Error) -> Self {
        Self(match error {
            Error::Cost(_) => "Cost".to_owned(),
            Error::Key(_) => "Key".to_owned(),
            Error::Backend(error) => kind(error.kind()),
            _ => "Config".to_owned(),
        })
    }
}

fn kind(kind: ErrorKind) -> String {
    format!("{kind:?}")
}
