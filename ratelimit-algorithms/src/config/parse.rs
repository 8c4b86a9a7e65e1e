//! From a text to its policies, or to the place where it is invalid.

use std::{collections::BTreeMap, fmt, path::Path};

use ratelimit_core::Policy;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, MapAccess, Visitor},
};

use super::{error::FileError, rule::Rule};

/// By name.
type Policies = BTreeMap<String, Policy>;

/// Reads `text`, the contents of the file at `path`, in the format of its extension.
pub(super) fn policies(path: &Path, text: &str) -> Result<Policies, FileError> {
    let read = match path.extension().and_then(|extension| extension.to_str()) {
        #[cfg(feature = "toml")]
        Some("toml") => toml(text),
        #[cfg(feature = "json")]
        Some("json") => json(text),
        _ => return Err(FileError::Format { path: path.to_owned() }),
    };
    read.map_err(|Invalid { line, field, message }| {
        let (path, source) = (path.to_owned(), message.into());
        FileError::Invalid { path, line, field, source }
    })
}

/// The first thing that is invalid.
struct Invalid {
    line: usize,
    field: String,
    message: String,
}

#[cfg(feature = "toml")]
fn toml(text: &str) -> Result<Policies, Invalid> {
    let invalid = |field: String, error: &toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.get(..start).unwrap_or(text);
        let line = 1 + before.matches('\n').count();
        Invalid { line, field, message: error.message().to_owned() }
    };
    let deserializer =
        toml::Deserializer::parse(text).map_err(|error| invalid(TOP.into(), &error))?;
    let table = serde_path_to_error::deserialize::<_, Table>(deserializer);
    table.map(|table| table.0).map_err(|error| invalid(field(error.path()), error.inner()))
}

#[cfg(feature = "json")]
fn json(text: &str) -> Result<Policies, Invalid> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let invalid = |field: String, error: &serde_json::Error| {
        let (line, message) = (error.line(), error.to_string());
        let place = format!(" at line {line} column {}", error.column());
        let message = message.strip_suffix(&place).unwrap_or(&message).to_owned();
        Invalid { line, field, message }
    };
    let table = serde_path_to_error::deserialize::<_, Table>(&mut deserializer);
    let table = table.map_err(|error| invalid(field(error.path()), error.inner()))?;
    deserializer.end().map_err(|error| invalid(TOP.into(), &error))?;
    Ok(table.0)
}

/// The name of a field in a limit.
fn field(path: &serde_path_to_error::Path) -> String {
    if path.iter().len() == 0 { TOP.to_owned() } else { path.to_string() }
}

/// The field of what is in no limit.
const TOP: &str = "limits";

/// Limits by name, none of them twice.
struct Table(Policies);

impl<'de> Deserialize<'de> for Table {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Limits;

        impl<'de> Visitor<'de> for Limits {
            type Value = Table;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of limits by name")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Table, M::Error> {
                let mut policies = Policies::new();
                while let Some(name) = map.next_key::<String>()? {
                    let policy = map.next_value_seed(Named { name: &name, known: &policies })?;
                    policies.insert(name, policy);
                }
                Ok(Table(policies))
            }
        }

        deserializer.deserialize_map(Limits)
    }
}

/// One limit of the table. It is refused while it is read, so that the error has its line.
struct Named<'a> {
    name: &'a str,
    known: &'a Policies,
}

impl<'de> DeserializeSeed<'de> for Named<'_> {
    type Value = Policy;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Policy, D::Error> {
        if self.known.contains_key(self.name) {
            return Err(D::Error::custom("there is a limit of that name already"));
        }
        let rule = Rule::deserialize(deserializer)?;
        rule.policy(self.name).map_err(D::Error::custom)
    }
}
