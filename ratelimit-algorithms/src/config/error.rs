//! Errors of limits files.

use std::{error, io, path::PathBuf};

use ratelimit_core::ConfigError;

/// An error in reading limits from a file, or in updating them. The limits that it names stay as
/// they were before; if it names none, all of them do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file has no extension of a format that is enabled.
    #[error("{} is of no format that is enabled; there are .toml and .json", path.display())]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// The file holds something else than limits.
    #[error("{}, line {line}, {field}: {source}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, from 1: of the invalid value, or of a limit that it is in.
        line: usize,
        /// The limit and its field, as far as they are known, with a dot between.
        field: String,
        /// The cause.
        source: Box<dyn error::Error + Send + Sync>,
    },
    /// Some limits stay as they were, each for a reason of its own. All others are updated.
    #[error("{}", one_by_one(.0))]
    Kept(Vec<Self>),
    /// A limit cannot become what the file says while it is in use.
    #[error("{}, {name}: {source}", path.display())]
    Change {
        /// The file.
        path: PathBuf,
        /// The limit.
        name: String,
        /// The cause.
        source: ConfigError,
    },
    /// The file lacks a limit that is used, or wanted.
    #[error("{} has no limit {name}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The limit.
        name: String,
    },
}

fn one_by_one(errors: &[FileError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
