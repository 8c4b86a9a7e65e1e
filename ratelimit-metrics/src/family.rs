//! Counts that are told apart by where a decision came from, or by why there was none.

use ratelimit_backend::ErrorKind;
use ratelimit_core::Source;

use crate::counter::Counter;

/// Writes the struct of a snapshot, with its names as labels, and one of what is counted on.
macro_rules! family {
    ($(#[$doc:meta])* $Counts:ident from $Each:ident by $By:ident {
        $($(#[$field_doc:meta])* $field:ident = $Variant:ident,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize))]
        #[non_exhaustive]
        pub struct $Counts {
            $($(#[$field_doc])* pub $field: u64,)*
            /// Any that this version does not know.
            pub other: u64,
        }

        impl $Counts {
            /// The sum of all.
            #[must_use]
            pub fn total(&self) -> u64 {
                self.each().into_iter().fold(0, |sum, (_, count)| sum.saturating_add(count))
            }

            /// Each with its name, the same ones in the same order whatever was counted.
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
            /// One for each name.
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

        impl $Each<Counter> {
            pub(crate) fn snapshot(&self) -> $Counts {
                $Counts { $($field: self.$field.get(),)* other: self.other.get() }
            }
        }
    };
}

family! {
    /// How many, by where the decision came from.
    BySource from EachSource by Source {
        /// From what the store holds.
        store = Store,
        /// From an earlier denial that still held.
        cache = Cache,
        /// From a list of keys.
        list = List,
        /// Denied by the store, and let through: a limit that is only watched.
        shadow = Shadow,
        /// From the limit that stands in for a store that failed.
        local = Local,
        /// Let through because the store failed.
        open = Open,
    }
}

family! {
    /// How many, by why there was no decision.
    ByKind from EachKind by ErrorKind {
        /// The store could not be reached.
        unavailable = Unavailable,
        /// The store did not answer in time.
        timeout = Timeout,
        /// Too much was waiting already.
        overloaded = Overloaded,
        /// The store took no writes.
        read_only = ReadOnly,
        /// The store refused who asked.
        auth = Auth,
        /// The store had no space left.
        full = Full,
        /// What was stored was no state.
        corrupt = Corrupt,
        /// What was stored was of another version or algorithm.
        incompatible = Incompatible,
        /// The key was new, and there was room for no more keys.
        capacity = Capacity,
        /// The store answered nonsense.
        protocol = Protocol,
        /// The store was closed.
        closed = Closed,
        /// The clock was out of range.
        clock = Clock,
    }
}

impl BySource {
    /// Of these, how many were decided without the store because it had failed.
    #[must_use]
    pub const fn fallbacks(&self) -> u64 {
        self.local.saturating_add(self.open)
    }
}
