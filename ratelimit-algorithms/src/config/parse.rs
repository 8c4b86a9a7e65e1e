//! The policies that a text holds, and where it is wrong.

use std::{collections::BTreeMap, fmt, path::Path};

use ratelimit_core::Policy;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, MapAccess, Visitor},
};

use crate::{FileError, Rule};

/// By name.
type Policies = BTreeMap<String, Policy>;

/// Reads the contents of the file at `path`, whose name says in which format they are.
pub(super) fn policies(path: &Path, text: &str) -> Result<Policies, FileError> {
    let read = match path.extension().and_then(|extension| extension.to_str()) {
        #[cfg(feature = "toml")]
        Some("toml") => toml(text),
        #[cfg(feature = "json")]
        Some("json") => json(text),
        _ => return Err(FileError::Format { path: path.to_owned() }),
    };
    read.map_err(|Wrong { line, field, message }| FileError::Wrong {
        path: path.to_owned(),
        line,
        field,
        message,
    })
}

/// What is wrong, and where.
struct Wrong {
    line: usize,
    field: String,
    message: String,
}

#[cfg(feature = "toml")]
fn toml(text: &str) -> Result<Policies, Wrong> {
    let wrong = |field: String, error: &toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.get(..start).unwrap_or(text);
        let line = 1 + before.matches('\n').count();
        Wrong { line, field, message: error.message().to_owned() }
    };
    let deserializer =
        toml::Deserializer::parse(text).map_err(|error| wrong(TOP.into(), &error))?;
    let table = serde_path_to_error::deserialize::<_, Table>(deserializer);
    table.map(|table| table.0).map_err(|error| wrong(field(error.path()), error.inner()))
}

#[cfg(feature = "json")]
fn json(text: &str) -> Result<Policies, Wrong> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let wrong = |field: String, error: &serde_json::Error| {
        let (line, message) = (error.line(), error.to_string());
        let place = format!(" at line {line} column {}", error.column());
        let message = message.strip_suffix(&place).unwrap_or(&message).to_owned();
        Wrong { line, field, message }
    };
    let table = serde_path_to_error::deserialize::<_, Table>(&mut deserializer);
    let table = table.map_err(|error| wrong(field(error.path()), error.inner()))?;
    deserializer.end().map_err(|error| wrong(TOP.into(), &error))?;
    Ok(table.0)
}

/// The name of a field in a limit.
fn field(path: &serde_path_to_error::Path) -> String {
    if path.iter().len() == 0 { TOP.to_owned() } else { path.to_string() }
}

/// Where something is wrong that is in no limit.
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

/// One limit of the table. It is refused while it is read, so that the error is there.
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
        Policy::new(self.name, rule).map_err(D::Error::custom)
    }
}
