//! The values under the keys of a batch, as scripts tell them.

use ratelimit_core::Timestamp;

use crate::connection::client::{Bytes, Reply};

/// A value that was found under a key.
#[derive(Clone)]
pub(crate) enum Value {
    String(Bytes),
    /// The elements of a list, end to end.
    List(Bytes),
}

impl Value {
    pub(crate) const fn flat(&self) -> &Bytes {
        let (Self::String(flat) | Self::List(flat)) = self;
        flat
    }
}

/// The values under the keys of a batch, and a time at which they were there.
pub(crate) struct Values {
    pub(crate) now: Timestamp,
    pub(crate) found: Vec<Option<Value>>,
}

impl Values {
    /// The one value that a script has found.
    pub(crate) fn one(now: Timestamp, flat: &[u8]) -> Self {
        Self { now, found: vec![Some(Value::String(Bytes::copy_from_slice(flat)))] }
    }

    /// The values that a swap has found in place of those that it was told, by its reply. The inner
    /// `None` if another client has reserved one, or one is a list, which is not told.
    pub(crate) fn in_place(reply: Reply) -> Option<Option<Self>> {
        let (now, found) = parse(reply)?;
        let string = |found| match found {
            Found::Nothing => Some(None),
            Found::String(flat) => Some(Some(Value::String(flat))),
            Found::List => None,
        };
        let is_told = !found.is_empty();
        let found: Option<Vec<_>> = found.into_iter().map(string).collect();
        Some(found.filter(|_| is_told).map(|found| Self { now, found }))
    }
}

/// A value as the script tells it.
pub(crate) enum Found {
    Nothing,
    String(Bytes),
    List,
}

/// The time, and the values under the keys at that time.
pub(crate) fn parse(reply: Reply) -> Option<(Timestamp, Vec<Found>)> {
    let Reply::Array(parts) = reply else { return None };
    let mut parts = parts.into_iter();
    let Reply::Integer(now) = parts.next()? else { return None };
    let now = time(now)?;
    let value = |part| match part {
        Reply::Bytes(bytes) => Found::String(bytes),
        Reply::Array(_) => Found::List,
        _ => Found::Nothing,
    };
    Some((now, parts.map(value).collect()))
}

/// A time as scripts tell it.
pub(crate) fn time(now: i64) -> Option<Timestamp> {
    Timestamp::from_micros(u64::try_from(now).ok()?)
}
