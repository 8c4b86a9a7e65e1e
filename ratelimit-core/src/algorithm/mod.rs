//! The one list of the algorithms, and how the rest of the crate reaches them without naming one.

pub mod adaptive;
pub mod fixed_window;
pub mod in_flight;
pub mod leaky_bucket;
pub mod sliding_window_counter;
pub mod sliding_window_log;
pub mod token_bucket;

pub(crate) mod definition;

use alloc::{boxed::Box, vec::Vec};

use self::definition::{Definition, Leasing};
use crate::{
    ConfigError, Micros,
    number::encoding::Reader,
    state::{
        key_state::KeyState,
        sensor::{Sensor, SubWindow},
    },
};

/// Defines [`Algorithm`], [`State`] and `with_quota!` from the list. (`$d` is a dollar sign, for
/// the macro that this one defines.)
macro_rules! algorithms {
    (($d:tt) $($(#[$doc:meta])* $variant:ident($module:ident),)*) => {
        /// One of the algorithms, with its numbers.
        // With a number of its own, which every check branches on.
        #[derive(Clone, Debug, Eq, PartialEq)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum Algorithm {
            $($(#[$doc])* $variant($module::Quota),)*
        }

        /// The numbers that an algorithm decided by, for those who look:
        /// [`Decision::detail`](crate::Decision::detail).
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize))]
        #[non_exhaustive]
        pub enum Detail {
            $($(#[$doc])* $variant($module::Detail),)*
        }

        /// A key's state, or a policy's shared sensor.
        #[derive(Clone, Debug, Eq, PartialEq)]
        pub(crate) enum State {
            $($variant(<$module::Quota as Definition>::State),)*
            Sensor(Box<Sensor>),
        }

        $(impl From<$module::Quota> for Algorithm {
            fn from(quota: $module::Quota) -> Self {
                Self::$variant(quota)
            }
        }

        impl From<$module::Detail> for Detail {
            fn from(detail: $module::Detail) -> Self {
                Self::$variant(detail)
            }
        }

        impl Listed for $module::Quota {
            fn of(algorithm: &Algorithm) -> Option<&Self> {
                if let Algorithm::$variant(quota) = algorithm { Some(quota) } else { None }
            }

            fn state<'a>(&self, state: &'a State) -> Option<&'a Self::State> {
                if let State::$variant(state) = state { Some(state) } else { None }
            }

            fn state_mut<'a>(&self, state: &'a mut State) -> Option<&'a mut Self::State> {
                if let State::$variant(state) = state { Some(state) } else { None }
            }

            fn wrap(&self, state: Self::State) -> State {
                State::$variant(state)
            }
        })*

        impl Algorithm {
            /// Builds the algorithm whose states, or sensors, are of this kind, from its numbers.
            pub(crate) fn read(kind: u8, input: &mut Reader<'_>) -> Option<Self> {
                $(if is_kind::<$module::Quota>(kind) {
                    return $module::Quota::read(input).map(Self::$variant);
                })*
                None
            }
        }

        /// The words besides a log's of the states of a kind, if they have a log.
        pub(crate) fn words_beside_log(kind: u8) -> Option<usize> {
            $(if <$module::Quota>::KIND == kind {
                return <$module::Quota as Definition>::State::WORDS_BESIDE_LOG;
            })*
            None
        }

        impl State {
            /// The words of a key's state under the numbers of `algorithm`.
            pub(crate) fn words(&self, algorithm: &Algorithm) -> Vec<u64> {
                fn words<A: Listed>(quota: &A, state: &State) -> Vec<u64> {
                    quota.state(state).map(KeyState::words).unwrap_or_default()
                }
                with_quota!(algorithm, quota => words(quota, self))
            }

            /// Reads the [`words`](Self::words) of a key's state.
            pub(crate) fn read(algorithm: &Algorithm, input: &mut Reader<'_>) -> Option<Self> {
                fn read<A: Listed>(quota: &A, input: &mut Reader<'_>) -> Option<State> {
                    Some(quota.wrap(quota.read_state(input)?))
                }
                with_quota!(algorithm, quota => read(quota, input))
            }

            /// The kind and the name of the algorithm; `None` for a shared sensor.
            pub(crate) const fn algorithm(&self) -> Option<(u8, &'static str)> {
                match self {
                    $(Self::$variant(_) => {
                        Some((<$module::Quota>::KIND, <$module::Quota>::NAME))
                    })*
                    Self::Sensor(_) => None,
                }
            }
        }

        /// Evaluates an expression for the quota of an algorithm, whichever it is.
        macro_rules! with_quota {
            ($d algorithm:expr, $d quota:ident => $d work:expr) => {
                match $d algorithm { $($crate::Algorithm::$variant($d quota) => $d work,)* }
            };
        }
        pub(crate) use with_quota;
    };
}

algorithms! {
    ($)
    /// A count per window.
    FixedWindow(fixed_window),
    /// A log of charges.
    SlidingWindowLog(sliding_window_log),
    /// An estimate from two counts.
    SlidingWindowCounter(sliding_window_counter),
    /// Tokens that are taken out, and come back.
    TokenBucket(token_bucket),
    /// Permits that are poured in, and leak.
    LeakyBucket(leaky_bucket),
    /// A log and a bucket whose size follows the load.
    Adaptive(adaptive),
    /// Permits that are held until they are given back.
    InFlight(in_flight),
}

/// An algorithm's place in the list.
pub(crate) trait Listed: Definition {
    /// The quota, if `algorithm` is one of this kind.
    fn of(algorithm: &Algorithm) -> Option<&Self>;

    /// The state, if it is of this kind.
    fn state<'a>(&self, state: &'a State) -> Option<&'a Self::State>;

    /// The state, to be changed, if it is of this kind.
    fn state_mut<'a>(&self, state: &'a mut State) -> Option<&'a mut Self::State>;

    /// A state of this kind.
    fn wrap(&self, state: Self::State) -> State;
}

impl Algorithm {
    /// The name, in words.
    #[must_use]
    pub fn name(&self) -> &'static str {
        const fn name<A: Definition>(_: &A) -> &'static str {
            A::NAME
        }
        with_quota!(self, quota => name(quota))
    }

    /// The most permits that a key as good as new has.
    #[must_use]
    pub fn limit(&self) -> u64 {
        with_quota!(self, quota => quota.size().limit)
    }

    /// The same limit with numbers under which [leases](crate::LeaseTerms) of `length` exceed it by nothing.
    ///
    /// A bucket loses what comes back in `length`, rounded up; a sliding window becomes longer by
    /// `length`; a fixed window stays as it is.
    ///
    /// ```
    /// # use core::time::Duration;
    /// use ratelimit_core::{Algorithm, Micros, token_bucket::Quota};
    ///
    /// # fn main() -> Result<(), ratelimit_core::ConfigError> {
    /// let quota = Quota::new(10_000, 10_000, Duration::from_secs(60))?;
    /// let exact = Algorithm::from(quota).for_leases(Micros::from_millis(600))?;
    /// assert_eq!(exact.limit(), 9_900);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::NotLeasable`] if permits cannot be charged before they are needed;
    /// [`ConfigError::ZeroLimit`] if nothing is left of a bucket; [`ConfigError::WindowTooLong`] if the window
    /// passes [`WINDOW_MAX`](crate::WINDOW_MAX).
    pub fn for_leases(&self, length: Micros) -> Result<Self, ConfigError> {
        with_quota!(self, quota => quota.for_leases(length).map(Into::into))
    }

    /// The effect of leases of `length`; `None` if permits cannot be leased.
    pub(crate) fn leasing(&self, length: Micros) -> Option<Leasing> {
        with_quota!(self, quota => quota.leasing(length))
    }

    /// Returns true if a load sensor counts the requests that are admitted.
    #[must_use]
    pub fn measures_load(&self) -> bool {
        self.sub_window().is_some()
    }

    /// The resolution of the load sensor, if there is one.
    pub(crate) fn sub_window(&self) -> Option<SubWindow> {
        with_quota!(self, quota => quota.sub_window())
    }

    /// Returns true if all keys of a policy feed one load sensor, which is a state of its own.
    #[must_use]
    #[inline]
    pub fn shares_sensor(&self) -> bool {
        with_quota!(self, quota => quota.shares_sensor())
    }

    /// The most permits that a key may owe; zero if none.
    pub(crate) fn debt_max(&self) -> u64 {
        with_quota!(self, quota => quota.debt_max())
    }

    /// These numbers, for a debt that is read under the numbers `to`; `None` if it ends.
    pub(crate) fn for_debt(&self, to: &Self) -> Option<Self> {
        fn known<A: Listed + Into<Algorithm>>(quota: &A, to: &Algorithm) -> Option<Algorithm> {
            quota.for_debt(A::of(to)).map(Into::into)
        }
        with_quota!(self, quota => known(quota, to))
    }

    /// The number that marks the states of keys in a store.
    pub(crate) fn kind(&self) -> u8 {
        const fn kind<A: Definition>(_: &A) -> u8 {
            A::KIND
        }
        with_quota!(self, quota => kind(quota))
    }

    /// The numbers that the constructor takes, to be stored.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        with_quota!(self, quota => quota.numbers())
    }

    /// Returns true if permits are held until their receipts give them back, or they lapse: then a
    /// denial may end sooner than it says.
    #[must_use]
    pub fn holds_permits(&self) -> bool {
        const fn holds_permits<A: Definition>(_: &A) -> bool {
            A::HOLDS_PERMITS
        }
        with_quota!(self, quota => holds_permits(quota))
    }

    /// The number that marks shared load sensors in a store.
    pub(crate) fn sensor_kind(&self) -> Option<u8> {
        const fn kind<A: Definition>(_: &A) -> Option<u8> {
            A::SENSOR_KIND
        }
        with_quota!(self, quota => kind(quota))
    }
}

/// Returns true if this number marks states, or shared sensors, of the algorithm.
fn is_kind<A: Definition>(kind: u8) -> bool {
    A::KIND == kind || A::SENSOR_KIND == Some(kind)
}
