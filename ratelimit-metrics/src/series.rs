//! The names and labels of series, and the counts that have a series for each value of a label.

use ratelimit_backend::ErrorKind;
use ratelimit_core::Source;

use crate::counter::Counter;

/// A name that Prometheus and the `metrics` facade know, and its description.
#[derive(Clone, Copy)]
pub(crate) struct Series {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
}

pub(crate) const CALLS: Series =
    Series { name: "ratelimit_calls_total", help: "Calls by how they ended." };
pub(crate) const DECISIONS: Series = Series {
    name: "ratelimit_decisions_total",
    help: "Checks that were decided, by outcome and source.",
};
pub(crate) const ERRORS: Series = Series {
    name: "ratelimit_errors_total",
    help: "Checks that got no decision, by kind of error.",
};
pub(crate) const COST: Series =
    Series { name: "ratelimit_cost_total", help: "Permits of requests, by outcome." };
pub(crate) const NEAR_LIMIT: Series = Series {
    name: "ratelimit_near_limit_total",
    help: "Requests admitted with little left of the limit.",
};
pub(crate) const LATENCY: Series = Series {
    name: "ratelimit_latency_seconds",
    help: "Durations of the calls that were measured.",
};

/// Returns the label of an algorithm: its name without spaces.
pub(crate) fn algorithm_label(name: &str) -> String {
    name.replace(' ', "_")
}

/// Writes the struct of a snapshot, whose field names are labels, and a struct of any `T` for each.
macro_rules! counts {
    ($(#[$doc:meta])* $Counts:ident from $Each:ident by $By:ident {
        $($(#[$field_doc:meta])* $field:ident = $Variant:ident,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize))]
        #[non_exhaustive]
        pub struct $Counts {
            $($(#[$field_doc])* pub $field: u64,)*
            /// All that this version does not know.
            pub other: u64,
        }

        impl $Counts {
            /// Returns the sum of all.
            #[must_use]
            pub fn total(&self) -> u64 {
                self.each().into_iter().fold(0, |sum, (_, count)| sum.saturating_add(count))
            }

            /// Returns each count with its name, in an order that never changes.
            #[must_use]
            pub fn each(&self) -> impl IntoIterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($field), self.$field),)* ("other", self.other)]
            }
        }

        /// A `T` for each.
        #[derive(Debug, Default)]
        pub(crate) struct $Each<T> {
            $($field: T,)*
            other: T,
        }

        impl<T> $Each<T> {
            /// Makes one for each name.
            #[cfg(feature = "metrics")]
            pub(crate) fn make(make: impl Fn(&'static str) -> T) -> Self {
                Self { $($field: make(stringify!($field)),)* other: make("other") }
            }

            pub(crate) const fn of(&self, by: $By) -> &T {
                match by {
                    $($By::$Variant => &self.$field,)*
                    _ => &self.other,
                }
            }
        }

        impl $Counts {
            /// Adds up counters that threads have apart.
            pub(crate) fn sum<'a>(shards: impl Iterator<Item = &'a $Each<Counter>>) -> Self {
                shards.fold(Self::default(), |sum, shard| Self {
                    $($field: sum.$field.saturating_add(shard.$field.get()),)*
                    other: sum.other.saturating_add(shard.other.get()),
                })
            }
        }
    };
}

counts! {
    /// Counts of decisions, by where they came from.
    BySource from EachSource by Source {
        /// The store decided.
        store = Store,
        /// An earlier denial still held.
        cache = Cache,
        /// A list of keys decided.
        list = List,
        /// The store denied, and the request was let through: the limit is only watched.
        shadow = Shadow,
        /// The limit decided that stands in for a store that failed.
        local = Local,
        /// The store failed, and the request was let through.
        open = Open,
        /// A lease had permits, which the store had charged ahead.
        lease = Lease,
    }
}

counts! {
    /// Counts of checks without a decision, by the kind of error.
    ByKind from EachKind by ErrorKind {
        /// The store could not be reached.
        unavailable = Unavailable,
        /// The store did not answer in time.
        timeout = Timeout,
        /// Too many calls were waiting already.
        overloaded = Overloaded,
        /// The store took no writes.
        read_only = ReadOnly,
        /// The store refused the credentials.
        auth = Auth,
        /// The store had no space left.
        full = Full,
        /// The stored bytes were no state.
        corrupt = Corrupt,
        /// The stored state was of another version or algorithm.
        incompatible = Incompatible,
        /// The key was new, and there was room for no more keys.
        capacity = Capacity,
        /// The store broke its protocol.
        protocol = Protocol,
        /// The store was closed.
        closed = Closed,
        /// The clock was out of range.
        clock = Clock,
    }
}

impl BySource {
    /// Returns the decisions that were made without the store because it had failed.
    #[must_use]
    pub const fn fallbacks(&self) -> u64 {
        self.local.saturating_add(self.open)
    }
}
