//! Errors: each names the field and the bound.

use core::{error::Error, fmt};

use crate::Micros;

/// An invalid configuration. It is refused when built, never clamped or ignored.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A limit, burst or cap of zero.
    ZeroLimit {
        /// The field that is wrong.
        field: &'static str,
    },
    /// A limit, burst or cap beyond the largest one.
    LimitTooLarge {
        /// The field that is wrong.
        field: &'static str,
        /// The largest value.
        max: u64,
    },
    /// A window or period of no length.
    ZeroWindow {
        /// The field that is wrong.
        field: &'static str,
    },
    /// A window or period shorter than the shortest one.
    WindowTooShort {
        /// The field that is wrong.
        field: &'static str,
        /// The shortest length.
        min: Micros,
    },
    /// A window or period, or the time a bucket takes to fill, longer than the longest one.
    WindowTooLong {
        /// The field that is wrong.
        field: &'static str,
        /// The greatest length.
        max: Micros,
    },
    /// A value that whole microseconds and exact integers cannot express.
    Unrepresentable {
        /// The field that is wrong.
        field: &'static str,
    },
    /// NaN or an infinity.
    NotFinite {
        /// The field that is wrong.
        field: &'static str,
    },
    /// Zero (of either sign), a negative number, or one too small to count.
    NotPositive {
        /// The field that is wrong.
        field: &'static str,
    },
    /// A number outside of its range.
    OutOfRange {
        /// The field that is wrong.
        field: &'static str,
        /// The least value.
        low: f64,
        /// The greatest value.
        high: f64,
    },
    /// Points in time of which one is not later than the one before.
    NotAscending {
        /// The field that is wrong.
        field: &'static str,
    },
    /// A time zone that the database of time zones does not have.
    UnknownTimeZone,
    /// A name that is not 1 to 64 characters of `a-z`, `0-9`, `_`, `.`, `-`.
    BadName,
    /// A debt under an algorithm whose keys cannot owe permits, or by windows of a calendar.
    NoDebt {
        /// The algorithm.
        algorithm: &'static str,
    },
    /// A number that belongs to a policy, where an algorithm is built.
    OfPolicy {
        /// The field that is wrong.
        field: &'static str,
    },
    /// Two policies with one name and other settings in one store.
    DuplicateName,
    /// State that the store cannot change together with the rest, as it would have to.
    NotAtomic {
        /// The field that asks for it.
        field: &'static str,
    },
    /// Another algorithm in the place of one whose state is carried over.
    AlgorithmChange {
        /// The algorithm so far.
        from: &'static str,
        /// The other one.
        to: &'static str,
    },
    /// A load sensor that would be shared where it was not, or no longer where it was.
    ScopeChange,
    /// A limit whose every request has to be seen, or put in order, on a store that leases permits.
    NotLeasable {
        /// The algorithm.
        algorithm: &'static str,
    },
    /// A tier that was not added.
    UnknownTier,
    /// Two tiers of one name.
    DuplicateTier,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZeroLimit { field } => write!(f, "{field} is 0, the least is 1"),
            Self::LimitTooLarge { field, max } => write!(f, "{field} exceeds {max}"),
            Self::ZeroWindow { field } => write!(f, "{field} has no length"),
            Self::WindowTooShort { field, min } => write!(f, "{field} is shorter than {min}"),
            Self::WindowTooLong { field, max } => write!(f, "{field} is longer than {max}"),
            Self::Unrepresentable { field } => {
                write!(f, "{field} cannot be expressed exactly in whole microseconds")
            }
            Self::NotFinite { field } => write!(f, "{field} is not a finite number"),
            Self::NotPositive { field } => write!(f, "{field} is not positive"),
            Self::OutOfRange { field, low, high } => {
                write!(f, "{field} is not between {low} and {high}")
            }
            Self::NotAscending { field } => write!(f, "{field} are not in ascending order"),
            Self::UnknownTimeZone => f.write_str("there is no time zone of that name"),
            Self::NoDebt { algorithm } => write!(f, "keys of this {algorithm} cannot owe permits"),
            Self::OfPolicy { field } => {
                write!(f, "{field} belongs to a policy, and not to its algorithm")
            }
            Self::BadName => f.write_str("name is not 1 to 64 characters of a-z, 0-9, _, . and -"),
            Self::DuplicateName => {
                f.write_str("name is taken by a policy with other settings in this store")
            }
            Self::NotAtomic { field } => {
                write!(f, "{field} asks for state that this store cannot change as one")
            }
            Self::AlgorithmChange { from, to } => {
                write!(f, "a {to} cannot carry over what a {from} has stored, only reset it")
            }
            Self::ScopeChange => f.write_str("the scope of a load sensor cannot change"),
            Self::NotLeasable { algorithm } => {
                write!(
                    f,
                    "no permits can be leased of this limit ({algorithm}): it has to see every request"
                )
            }
            Self::UnknownTier => f.write_str("there is no tier of that name"),
            Self::DuplicateTier => f.write_str("there is a tier of that name already"),
        }
    }
}

impl Error for ConfigError {}

/// A value that needs no conversion cannot fail in one.
impl From<core::convert::Infallible> for ConfigError {
    fn from(never: core::convert::Infallible) -> Self {
        match never {}
    }
}

/// A cost that no wait could ever satisfy. No state is touched.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CostError {
    /// A cost of nothing; to look without spending, peek.
    Zero,
    /// A cost beyond what the policy ever admits at once.
    ExceedsLimit {
        /// The cost asked for.
        cost: u64,
        /// The largest cost that the policy admits.
        max: u64,
    },
}

impl fmt::Display for CostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero => f.write_str("cost is 0"),
            Self::ExceedsLimit { cost, max } => write!(f, "cost {cost} exceeds limit {max}"),
        }
    }
}

impl Error for CostError {}

/// A key longer than the longest one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete by nature")]
pub struct KeyTooLong {
    /// The greatest length in bytes.
    pub max: usize,
}

impl fmt::Display for KeyTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key is longer than {} bytes", self.max)
    }
}

impl Error for KeyTooLong {}

/// A stored state that cannot be used. It is left as it is; an explicit reset repairs it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum StateError {
    /// Bytes that are no state, or a state no algorithm could have left.
    Corrupt,
    /// A state written in another version of the encoding.
    Version {
        /// The version found.
        found: u8,
        /// The version this library reads.
        want: u8,
    },
    /// A state of another algorithm than the policy's.
    Algorithm {
        /// The algorithm found.
        found: &'static str,
        /// The policy's algorithm.
        want: &'static str,
    },
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt => f.write_str("stored state is corrupt"),
            Self::Version { found, want } => {
                write!(f, "stored state has version {found}, this library reads {want}")
            }
            Self::Algorithm { found, want } => {
                write!(f, "stored state is of a {found}, the policy is a {want}")
            }
        }
    }
}

impl Error for StateError {}
