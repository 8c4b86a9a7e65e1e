//! Limits in configurations: the notation of one, a rule with all its numbers, a file of them.

#[cfg(any(feature = "json", feature = "toml"))]
mod error;
#[cfg(any(feature = "json", feature = "toml"))]
mod file;
pub(crate) mod notation;
#[cfg(any(feature = "json", feature = "toml"))]
mod parse;
#[cfg(feature = "serde")]
mod rule;
#[cfg(any(feature = "json", feature = "toml"))]
mod watch;

pub use self::notation::NotationError;
#[cfg(feature = "serde")]
pub use self::rule::{Rule, RuleError};
#[cfg(any(feature = "json", feature = "toml"))]
pub use self::{error::FileError, file::LimitsFile, watch::Watch};
