//! The formats of logs, and the reasons why one cannot be read.

use std::{fmt, io, str::FromStr};

/// The format of a log.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Format {
    /// The common and the combined format of Apache, nginx and others; quoted fields may follow.
    Combined,
    /// Lines of JSON as nginx writes them with the usual names of its variables.
    Nginx,
    /// Lines of JSON of Caddy.
    Caddy,
    /// Lines of JSON of Traefik.
    Traefik,
    /// Lines of JSON of Envoy.
    Envoy,
    /// Lines of JSON of `tracing-subscriber`, for axum behind `TraceLayer` of `tower-http`.
    Axum,
    /// Comma-separated values with a heading.
    Csv,
}

impl Format {
    /// All formats, and their names.
    const ALL: [(Self, &'static str); 7] = [
        (Self::Combined, "combined"),
        (Self::Nginx, "nginx"),
        (Self::Caddy, "caddy"),
        (Self::Traefik, "traefik"),
        (Self::Envoy, "envoy"),
        (Self::Axum, "axum"),
        (Self::Csv, "csv"),
    ];
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(format, _)| format == self);
        f.write_str(name.map_or("", |(_, name)| name))
    }
}

/// Reads `combined` (or `common`), `nginx`, `caddy`, `traefik`, `envoy`, `axum` or `csv`.
impl FromStr for Format {
    type Err = LogError;

    fn from_str(text: &str) -> Result<Self, LogError> {
        let text = if text == "common" { "combined" } else { text };
        let format = Self::ALL.iter().find(|(_, name)| *name == text).map(|(format, _)| *format);
        format.ok_or_else(|| LogError::Format { name: text.to_owned() })
    }
}

/// The reason why a log cannot be read, or not to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// No format has this name.
    #[error(
        "there is no format {name}, only combined (common), nginx, caddy, traefik, envoy, axum and csv"
    )]
    Format {
        /// The name.
        name: String,
    },
    /// The format has no such field.
    #[error("a log in the format {format} has no field {field}")]
    Field {
        /// The field.
        field: String,
        /// The format.
        format: Format,
    },
    /// The header in which proxies name the client is none.
    #[error("{name} is no name of a header")]
    Header {
        /// The name.
        name: String,
    },
    /// The input ended early: a file that was cut off, or cannot be read. What was read counts.
    #[error("the log ends early: {0}")]
    Cut(#[source] io::Error),
}
