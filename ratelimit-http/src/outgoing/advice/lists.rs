//! `RateLimit-Policy` and `RateLimit`: lists with an item for each limit (drafts 8 to 10), or a
//! dictionary about one (draft 7).

use std::time::Duration;

use http::{HeaderMap, HeaderName};

use super::{
    structured_field::{self, Bare, Item},
    time_value::{Clocks, Unit},
};

/// One limit of a server. A value that it does not tell is `None`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct AdvisedLimit {
    /// Its name; in fields such as `x-ratelimit-remaining-tokens` the word that tells it apart.
    pub name: Option<String>,
    /// The most that can be spent.
    pub limit: Option<u64>,
    /// The time in which that much can be spent.
    pub window: Option<Duration>,
    /// The rest that can be spent.
    pub remaining: Option<u64>,
    /// The time until there is more, or all of it.
    pub reset_after: Option<Duration>,
    /// The unit that is counted, if not requests.
    pub unit: Option<String>,
    /// The client whose limit it is: bytes that are the same for the same client.
    pub partition_key: Option<Vec<u8>>,
}

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Returns the limits in either list, each once, and the number of times that make no sense.
pub(super) fn read(headers: &HeaderMap, clocks: &Clocks) -> (Vec<AdvisedLimit>, usize) {
    let (mut limits, mut ignored) = (Vec::new(), 0);
    for item in list(headers, &POLICY) {
        limits.extend(policy(&item));
    }
    for item in list(headers, &LIMIT) {
        if let Some((name, remaining, reset, partition_key)) = state(&item) {
            let limit = of(&mut limits, name, partition_key);
            limit.remaining = Some(remaining);
            limit.reset_after = reset.and_then(|reset| seconds(reset, clocks));
            ignored += usize::from(reset.is_some() && limit.reset_after.is_none());
        }
    }
    (limits, ignored)
}

/// Returns the limit in `RateLimit: limit=100, remaining=0, reset=50`.
pub(super) fn draft_7(headers: &HeaderMap, clocks: &Clocks) -> Option<AdvisedLimit> {
    by_keyword(&joined(headers, &LIMIT), clocks)
}

/// Returns the limit in a dictionary of `limit`, `remaining` and `reset`, whether these are its
/// members or parameters of one.
pub(super) fn by_keyword(text: &[u8], clocks: &Clocks) -> Option<AdvisedLimit> {
    let members = structured_field::dictionary(text)?;
    let number = |names: &[&str]| {
        let of = |(key, item): &(String, Item)| {
            let own = names.contains(&key.as_str()).then_some(&item.bare);
            own.or_else(|| names.iter().find_map(|name| item.parameter(name))).and_then(integer)
        };
        members.iter().find_map(of)
    };
    let remaining = number(&["remaining"])?;
    Some(AdvisedLimit {
        limit: number(&["limit", "total"]).and_then(|limit| u64::try_from(limit).ok()),
        remaining: Some(u64::try_from(remaining).unwrap_or(0)),
        reset_after: number(&["reset", "resets"])
            .and_then(|reset| seconds(u64::try_from(reset).ok()?, clocks)),
        ..AdvisedLimit::default()
    })
}

/// The items of all lines, since a list may be split into several.
fn list(headers: &HeaderMap, name: &HeaderName) -> Vec<Item> {
    let mut items = structured_field::list(&joined(headers, name)).unwrap_or_default();
    items.truncate(LIMITS_MAX);
    items
}

fn joined(headers: &HeaderMap, name: &HeaderName) -> Vec<u8> {
    let lines = headers.get_all(name).iter();
    let lines: Vec<&[u8]> = lines.map(|line| line.as_bytes()).collect();
    lines.join(&b", "[..])
}

/// More limits than any client needs.
pub(super) const LIMITS_MAX: usize = 64;

/// Reads an item of `RateLimit-Policy`. (In drafts 3 to 7 its quota stands in place of its name.)
fn policy(item: &Item) -> Option<AdvisedLimit> {
    let (name, limit) = match &item.bare {
        Bare::Integer(quota) => (None, u64::try_from(*quota).ok()?),
        _ => (Some(name(item)?.to_owned()), required(item, "q")?),
    };
    let unit = match item.parameter("qu") {
        None => None,
        Some(Bare::Text(unit) | Bare::Token(unit)) => Some(unit.clone()),
        Some(_) => return None,
    };
    let window = optional(item, "w")?.map(Duration::from_secs);
    let partition_key = partition_key(item)?;
    let limit = Some(limit);
    Some(AdvisedLimit { name, limit, window, unit, partition_key, ..AdvisedLimit::default() })
}

type State<'a> = (&'a str, u64, Option<u64>, Option<Vec<u8>>);

/// Reads an item of `RateLimit`.
fn state(item: &Item) -> Option<State<'_>> {
    Some((name(item)?, required(item, "r")?, optional(item, "t")?, partition_key(item)?))
}

/// The limit of that name, and of that client if there is one; a new one if there is none.
fn of<'a>(
    limits: &'a mut Vec<AdvisedLimit>,
    name: &str,
    partition_key: Option<Vec<u8>>,
) -> &'a mut AdvisedLimit {
    let is_same = |limit: &AdvisedLimit| {
        limit.name.as_deref() == Some(name)
            && limit.remaining.is_none()
            && (limit.partition_key == partition_key
                || limit.partition_key.is_none()
                || partition_key.is_none())
    };
    let index = limits.iter().position(is_same).unwrap_or_else(|| {
        limits.push(AdvisedLimit { name: Some(name.to_owned()), ..AdvisedLimit::default() });
        limits.len() - 1
    });
    let limit = &mut limits[index];
    limit.partition_key = limit.partition_key.take().or(partition_key);
    limit
}

fn name(item: &Item) -> Option<&str> {
    match &item.bare {
        Bare::Text(name) | Bare::Token(name) => Some(name),
        _ => None,
    }
}

const fn integer(bare: &Bare) -> Option<i64> {
    match bare {
        Bare::Integer(number) => Some(*number),
        _ => None,
    }
}

fn required(item: &Item, name: &str) -> Option<u64> {
    u64::try_from(integer(item.parameter(name)?)?).ok()
}

/// `None` if the parameter is invalid, which voids the item.
fn optional(item: &Item, name: &str) -> Option<Option<u64>> {
    if item.parameter(name).is_none() { Some(None) } else { required(item, name).map(Some) }
}

/// The parameter `pk`, as [`optional`] reads others.
fn partition_key(item: &Item) -> Option<Option<Vec<u8>>> {
    match item.parameter("pk") {
        None => Some(None),
        Some(Bare::Bytes(bytes)) => Some(Some(bytes.clone())),
        Some(_) => None,
    }
}

fn seconds(number: u64, clocks: &Clocks) -> Option<Duration> {
    clocks.wait(&number.to_string(), Unit::Seconds)
}
