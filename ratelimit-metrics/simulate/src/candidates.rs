//! The limits to compare, in the notation of limits files.

use std::{collections::BTreeMap, fmt::Write, path::Path, str::FromStr};

use ratelimit_algorithms::{ConfigError, FileError, LimitsFile, Policy, Rule};
use serde::Deserialize;
use serde_json::Value;

/// The limits to compare, by name, in the notation of limits files.
///
/// ```
/// use ratelimit_simulate::Candidates;
///
/// # fn main() -> Result<(), ratelimit_simulate::CandidateError> {
/// let candidates: Candidates = r#"
///     steady = "10/1s"
///     hourly = { algorithm = "fixed_window", limit = 5000, window = "1h" }
/// "#
/// .parse()?;
/// assert_eq!(candidates.names().collect::<Vec<_>>(), ["hourly", "steady"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Candidates(pub(crate) Vec<Candidate>);

/// One limit: its name, the notation, and the policy that the notation stands for.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) notation: Value,
    pub(crate) policy: Policy,
}

/// The reason why limits cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CandidateError {
    /// The limits file is invalid.
    #[error(transparent)]
    File(#[from] FileError),
    /// The text is not a table of limits.
    #[error("{0}")]
    Text(#[from] toml::de::Error),
    /// The numbers of a limit are invalid.
    #[error("{name}: {source}")]
    Limit {
        /// The limit.
        name: String,
        /// The cause.
        source: serde_json::Error,
    },
    /// The name is not one of a limit.
    #[error("{name}: {source}")]
    Name {
        /// The name.
        name: String,
        /// The cause.
        source: ConfigError,
    },
    /// The limit is of permits in flight.
    #[error("{name} is of permits in flight: a log does not say when each request ended")]
    HeldPermits {
        /// The name.
        name: String,
    },
    /// Two limits have one name.
    #[error("there are two limits called {name}")]
    Twice {
        /// The name.
        name: String,
    },
}

impl Candidates {
    /// Reads a limits file: TOML, or JSON if its name ends in `.json`.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or anything in it is invalid.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, CandidateError> {
        let path = path.as_ref();
        // As a service opens it, with the line and the field of what is wrong.
        LimitsFile::open(path)?;
        let text = std::fs::read_to_string(path)
            .map_err(|source| FileError::Read { path: path.to_owned(), source })?;
        match path.extension() {
            Some(extension) if extension == "json" => {
                let limits = serde_json::from_str(&text);
                Self::new(limits.map_err(|source| CandidateError::Limit {
                    name: path.display().to_string(),
                    source,
                })?)
            }
            _ => text.parse(),
        }
    }

    fn new(limits: BTreeMap<String, Value>) -> Result<Self, CandidateError> {
        let candidate = |(name, notation): (String, Value)| Candidate::new(&name, notation);
        limits.into_iter().map(candidate).collect::<Result<_, _>>().map(Self)
    }

    /// Adds the limits of `others`.
    ///
    /// # Errors
    ///
    /// [`CandidateError::Twice`] if both have a limit of one name.
    pub fn and(mut self, others: Self) -> Result<Self, CandidateError> {
        for other in others.0 {
            let name = other.policy.name();
            if self.names().any(|known| known == name) {
                return Err(CandidateError::Twice { name: name.to_owned() });
            }
            self.0.push(other);
        }
        Ok(self)
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|candidate| candidate.policy.name())
    }
}

/// Reads the contents of a limits file in TOML.
impl FromStr for Candidates {
    type Err = CandidateError;

    fn from_str(text: &str) -> Result<Self, CandidateError> {
        Self::new(toml::from_str(text)?)
    }
}

impl Candidate {
    pub(crate) fn new(name: &str, notation: Value) -> Result<Self, CandidateError> {
        let own = |name: &str| name.to_owned();
        let rule = Rule::deserialize(&notation)
            .map_err(|source| CandidateError::Limit { name: own(name), source })?;
        let policy =
            rule.policy(name).map_err(|source| CandidateError::Name { name: own(name), source })?;
        if policy.algorithm().holds_permits() {
            return Err(CandidateError::HeldPermits { name: own(name) });
        }
        Ok(Self { notation, policy })
    }
}

/// Writes a limit as a limits file in TOML has it, its fields in order of their names.
pub(crate) fn to_toml(notation: &Value) -> String {
    match notation {
        Value::Object(fields) => {
            let mut text = String::from("{ ");
            // A feature of serde_json, which any crate can turn on, keeps another order.
            let fields: BTreeMap<_, _> = fields.iter().collect();
            for (number, (name, value)) in fields.into_iter().enumerate() {
                let comma = if number == 0 { "" } else { ", " };
                let _ = write!(text, "{comma}{name} = {}", to_toml(value));
            }
            text + " }"
        }
        // A text without control characters is the same in both.
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_written_as_it_is_read() {
        let text = r#"
            long = { algorithm = "fixed_window", limit = 5, window = "1m" }
            rate = { limit = 1, window = "1s", refill_rate = 2.5, burst = 7 }
            short = "100/60s"
        "#;
        let candidates: Candidates = text.parse().unwrap();
        for candidate in &candidates.0 {
            let line = format!("{} = {}", candidate.policy.name(), to_toml(&candidate.notation));
            let again: Candidates = line.parse().unwrap();
            assert_eq!(again.0[0].policy, candidate.policy, "{line}");
        }
    }

    #[test]
    fn an_invalid_limit_is_refused_by_its_name() {
        for (text, said) in [
            ("api = '100/60'", "api: a length is whole numbers with units"),
            (
                "api = { limit = 1, window = '1s', capacity = 2 }",
                "api: a token bucket has no capacity",
            ),
            ("Api = '1/1s'", "Api: "),
            ("api = '4 in flight'", "api is of permits in flight"),
            ("api = ", "TOML parse error"),
        ] {
            let error = text.parse::<Candidates>().unwrap_err().to_string();
            assert!(error.starts_with(said), "{error}");
        }
        let candidates: Candidates = "a = '1/1s'".parse().unwrap();
        let error = candidates.clone().and(candidates).unwrap_err().to_string();
        assert_eq!(error, "there are two limits called a");
    }
}
