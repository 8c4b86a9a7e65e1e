//! One parser for every format.

use super::{
    combined::{self, Combined},
    csv::Csv,
    format::{Format, LogError},
    json::Json,
    names::fields,
    values::{NoRequest, Values},
};

/// Reads lines of one format.
#[derive(Debug)]
pub(crate) enum Parser {
    Combined(Combined),
    Json(Json),
    Csv(Csv),
}

impl Parser {
    /// A parser for a log with this first line, which gives the values of the fields called `names`.
    pub(crate) fn new(
        format: Format,
        first_line: &[u8],
        names: &[Option<&str>],
    ) -> Result<Self, LogError> {
        let fields: Vec<_> = names
            .iter()
            .map(|name| name.map_or_else(Vec::new, |name| fields(format, name)))
            .collect();
        let unknown = |place: usize| LogError::Field {
            field: names[place].unwrap_or_default().to_owned(),
            format,
        };
        Ok(match format {
            Format::Combined => Self::Combined(Combined::new(&fields).map_err(unknown)?),
            Format::Csv => Self::Csv(Csv::new(first_line, &fields).map_err(unknown)?),
            _ => Self::Json(Json::new(&fields, format == Format::Axum)),
        })
    }

    /// Returns true if the first line names the fields.
    pub(crate) const fn has_heading(&self) -> bool {
        matches!(self, Self::Csv(_))
    }

    /// Puts the values of a line into `values`, which are none before.
    #[inline]
    pub(crate) fn read<'a>(
        &'a mut self,
        line: &'a [u8],
        values: &mut Values<'a>,
    ) -> Result<(), NoRequest> {
        match self {
            Self::Combined(parser) => parser.read(line, values),
            Self::Json(parser) => parser.read(line, values),
            Self::Csv(parser) => parser.read(line, values),
        }
    }
}

/// The format of a log with this first line.
pub(crate) fn format_of(line: &[u8]) -> Format {
    if line.trim_ascii_start().first() == Some(&b'{') {
        format_of_json(&String::from_utf8_lossy(line))
    } else if combined::split(line).is_none() && line.contains(&b',') {
        Format::Csv
    } else {
        Format::Combined
    }
}

/// The format of JSON, by the names that only one server uses.
fn format_of_json(line: &str) -> Format {
    let has = |name: &str| line.contains(&format!("\"{name}\""));
    if has("ClientHost") || has("DownstreamStatus") {
        Format::Traefik
    } else if has("downstream_remote_address") || has("response_code") {
        Format::Envoy
    } else if has("request") && has("remote_ip") {
        Format::Caddy
    } else if has("target") && has("level") {
        Format::Axum
    } else {
        Format::Nginx
    }
}
