//! `RateLimit-Policy` and `RateLimit`: lists with an item for each limit.

use std::time::Duration;

use http::{HeaderMap, HeaderName};

use super::{
    AdvisedLimit,
    structured_field::{self, Bare, Item},
};
use crate::headers::draft::{LIMIT, POLICY};

/// The limits that either list tells of, each once.
pub(super) fn read(headers: &HeaderMap) -> Vec<AdvisedLimit> {
    let mut limits = Vec::new();
    for item in list(headers, &POLICY) {
        if let Some(policy) = policy(&item) {
            limits.push(policy);
        }
    }
    for item in list(headers, &LIMIT) {
        if let Some((name, remaining, reset_after, partition_key)) = standing(&item) {
            let limit = of(&mut limits, name, partition_key);
            limit.remaining = Some(remaining);
            limit.reset_after = reset_after;
        }
    }
    limits
}

/// Of all lines as one, as lists are; none if that is no list.
fn list(headers: &HeaderMap, name: &HeaderName) -> Vec<Item> {
    let lines = headers.get_all(name).iter();
    let lines: Vec<&[u8]> = lines.map(|line| line.as_bytes()).collect();
    let mut items = structured_field::list(&lines.join(&b", "[..])).unwrap_or_default();
    items.truncate(LIMITS_MAX);
    items
}

/// Nobody needs more, and none of them is free.
const LIMITS_MAX: usize = 64;

/// What an item of `RateLimit-Policy` says. (In draft 6 it is called by its quota.)
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
    let (window, partition_key) = (seconds(item, "w")?, partition_key(item)?);
    Some(AdvisedLimit {
        name,
        limit: Some(limit),
        window,
        unit,
        partition_key,
        ..AdvisedLimit::default()
    })
}

type Standing<'a> = (&'a str, u64, Option<Duration>, Option<Vec<u8>>);

/// What an item of `RateLimit` says.
fn standing(item: &Item) -> Option<Standing<'_>> {
    Some((name(item)?, required(item, "r")?, seconds(item, "t")?, partition_key(item)?))
}

/// The limit of that name, and of that client if it is said; a new one if there is none.
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

fn required(item: &Item, name: &str) -> Option<u64> {
    match item.parameter(name)? {
        Bare::Integer(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

/// `None` if it is there and makes no sense, and with it the item.
fn seconds(item: &Item, name: &str) -> Option<Option<Duration>> {
    if item.parameter(name).is_none() {
        return Some(None);
    }
    required(item, name).map(Duration::from_secs).map(Some)
}

/// `None` if it is there and makes no sense, and with it the item.
fn partition_key(item: &Item) -> Option<Option<Vec<u8>>> {
    match item.parameter("pk") {
        None => Some(None),
        Some(Bare::Bytes(bytes)) => Some(Some(bytes.clone())),
        Some(_) => None,
    }
}
