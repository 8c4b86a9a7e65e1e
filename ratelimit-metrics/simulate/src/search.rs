//! The smallest limits that deny few enough clients, found in one pass.
//!
//! As long as a client is not denied, the number of permits in use does not depend on the size of
//! the limit: a bucket with the same rate, or a window of the same length, has the same number in
//! use whatever its size. So one limit of a size that is never reached tells for each client the
//! smallest size that would not have denied it: the most that it ever used. Of all clients but
//! those that may be denied, the largest such size is the smallest limit.
//!
//! Rates are tried one by one: for each, the smallest size. These pairs are the frontier, on which
//! a higher rate needs a smaller size.

use std::str::FromStr;

use ratelimit_core::{Policy, Timestamp};
use serde_json::{Map, Number, Value};

use crate::{
    candidates::Candidate,
    slot::{Slot, when_new},
};

/// A share of clients, in parts per million: `1%`, `0.05%`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Share(u64);

impl Share {
    /// As many of so many clients, rounded down.
    fn of(self, clients: usize) -> usize {
        let part = clients as u128 * u128::from(self.0) / 1_000_000;
        usize::try_from(part).unwrap_or(clients)
    }
}

/// Reads a percentage from `0%` to `100%`, of at most four decimals.
impl FromStr for Share {
    type Err = SearchError;

    fn from_str(text: &str) -> Result<Self, SearchError> {
        let number = text.strip_suffix('%').ok_or(SearchError::Share)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let is_fit = (1..=4).contains(&fraction.len());
        let digits = format!("{whole}{fraction:0<4}");
        if !is_fit || whole.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(SearchError::Share);
        }
        match digits.parse() {
            Ok(parts) if parts <= 1_000_000 => Ok(Self(parts)),
            _ => Err(SearchError::Share),
        }
    }
}

/// Writes it as it is read.
impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fraction = format!("{:04}", self.0 % 10_000);
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        write!(f, "{}{point}{fraction}%", self.0 / 10_000)
    }
}

/// The reason why no smallest limit can be looked for.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// The text is no share of clients.
    #[error("a share is a percentage from 0% to 100%, as in 1% or 0.05%")]
    Share,
    /// The admissions of the limit depend on more than a rate and a size.
    #[error(
        "{name} has no smallest limit: a limit that follows the load, delays or starts with fewer \
         permits does not only depend on its rate and size"
    )]
    NotComparable {
        /// The limit.
        name: String,
    },
}

/// The limits that differ from a candidate in their numbers only.
#[derive(Debug)]
pub(crate) struct Family {
    /// The field of the size: of the only number if there is no rate.
    size_field: &'static str,
    /// By rate, the slowest first.
    pub(crate) members: Vec<Member>,
    /// The place of the candidate's own rate.
    pub(crate) own: usize,
    /// The candidate's own size.
    pub(crate) own_size: u64,
    /// A row for each client, a column for each member.
    cells: Vec<Cell>,
}

/// The limits of one rate.
#[derive(Debug)]
pub(crate) struct Member {
    /// The notation of the limit, but for its size.
    notation: Map<String, Value>,
    /// A limit of a size that is not reached.
    vast: Policy,
}

#[derive(Debug, Default)]
struct Cell {
    slot: Slot,
    /// The smallest size that does not deny the client; `u64::MAX` if even the vast one does.
    needed: u64,
}

impl Family {
    pub(crate) fn new(candidate: &Candidate) -> Result<Self, SearchError> {
        let name = candidate.policy.name();
        let not_comparable = || SearchError::NotComparable { name: name.to_owned() };
        if candidate.policy.algorithm().measures_load() {
            return Err(not_comparable());
        }
        let table = table(&candidate.notation).ok_or_else(not_comparable)?;
        let has = |field: &&str| policy(name, &with(&table, field, 1_u64.into())).is_some();
        let size_field = ["burst", "capacity"].into_iter().find(has).unwrap_or("limit");
        let rates = if size_field == "limit" { vec![table.clone()] } else { rates(&table) };
        let member = |notation: Map<String, Value>| Member::new(name, notation, size_field);
        let own = rates.iter().position(|rate| *rate == table).ok_or_else(not_comparable)?;
        let members = rates.into_iter().map(member).collect::<Option<Vec<_>>>();
        let own_size = candidate.policy.limit();
        let members = members.ok_or_else(not_comparable)?;
        Ok(Self { size_field, members, own, own_size, cells: Vec::new() })
    }

    pub(crate) fn decide(&mut self, client: usize, at: Timestamp, cost: u64) {
        let width = self.members.len();
        if self.cells.len() <= client * width {
            self.cells.resize_with((client + 1) * width, Cell::default);
        }
        for (member, cell) in self.members.iter().zip(&mut self.cells[client * width..][..width]) {
            if cell.needed != u64::MAX {
                cell.needed = member.needed(cell, at, cost).unwrap_or(u64::MAX);
            }
        }
    }

    /// The smallest size at the rate of a member that denies no more clients than may be; `None` if
    /// it is larger than any that can be told.
    pub(crate) fn smallest_size(&self, member: usize, may_be_denied: Share) -> Option<u64> {
        let column = self.cells.iter().skip(member).step_by(self.members.len());
        let mut needed: Vec<u64> = column.map(|cell| cell.needed).collect();
        needed.sort_unstable();
        let denied = may_be_denied.of(needed.len());
        // A limit of zero is none, even where it may deny everybody.
        let size = needed.iter().rev().nth(denied).map_or(1, |size| *size);
        (size != u64::MAX).then_some(size)
    }

    /// The notation of the limit of this rate and size.
    pub(crate) fn notation(&self, member: usize, size: u64) -> Value {
        with(&self.members[member].notation, self.size_field, size.into())
    }

    /// The notation of the rate alone; `None` if there is one number only.
    pub(crate) fn rate(&self, member: usize) -> Option<String> {
        let notation = &self.members[member].notation;
        let per_second = RATE_FIELDS.iter().find_map(|field| notation.get(*field));
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (self.size_field != "limit").then(|| match per_second {
            Some(rate) => format!("{rate}/1s"),
            None => format!("{}/{}", text(&notation["limit"]), text(&notation["window"])),
        })
    }

    /// The permits per second of a member.
    pub(crate) fn per_second(&self, member: usize) -> f64 {
        self.members[member].vast.rate().to_f64() * 1e6
    }
}

impl Member {
    /// `None` if nothing can be told by a limit of another size.
    fn new(name: &str, notation: Map<String, Value>, size_field: &'static str) -> Option<Self> {
        let of_size = |size: u64| policy(name, &with(&notation, size_field, size.into()));
        let smallest = of_size(1)?;
        let is_exact = |vast: &Policy| match size_field {
            "limit" => vast.window() == smallest.window() && when_new(vast).is_some_and(|it| it.1),
            _ => vast.rate() == smallest.rate(),
        };
        let sizes = (1..=SIZE_DIGITS_MAX).rev().map(|digits| 10_u64.pow(digits));
        let vast = sizes.filter_map(of_size).find(is_exact)?;
        let (remaining, _) = when_new(&vast)?;
        (remaining == vast.limit()).then_some(Self { notation, vast })
    }

    /// The size that the client needs after this request; `None` if that cannot be told.
    fn needed(&self, cell: &mut Cell, at: Timestamp, cost: u64) -> Option<u64> {
        let decision = cell.slot.spend((&self.vast, &mut None), at, cost).ok()?;
        let used = self.vast.limit().saturating_sub(decision.remaining);
        decision.is_allowed().then(|| cell.needed.max(used))
    }
}

/// A size that no client reaches has so many digits, where that leaves rates and times exact.
const SIZE_DIGITS_MAX: u32 = 9;

/// The fields of an explicit rate.
const RATE_FIELDS: [&str; 2] = ["refill_rate", "leak_rate"];

/// The limits of other rates, from a tenth to ten times that of `table`, the slowest first.
fn rates(table: &Map<String, Value>) -> Vec<Map<String, Value>> {
    let field = RATE_FIELDS.into_iter().find(|field| table.contains_key(*field));
    let rate = |percent: &u32| match field {
        Some(field) => {
            let rate = table[field].as_f64()? * f64::from(*percent) / 100.0;
            Some((field, Value::Number(Number::from_f64(rate)?)))
        }
        None => {
            let limit = table.get("limit")?.as_u64()?.checked_mul(u64::from(*percent))?;
            Some(("limit", limit.div_ceil(100).into()))
        }
    };
    let mut rates: Vec<_> = Vec::new();
    for percent in &PERCENTS {
        let mut other = table.clone();
        if let (false, Some((field, value))) = (*percent == 100, rate(percent)) {
            other.insert(field.to_owned(), value);
        }
        rates.push(other);
    }
    rates.dedup();
    rates
}

/// Of a rate, in ten steps a decade.
const PERCENTS: [u32; 21] = [
    10, 12, 16, 20, 25, 32, 40, 50, 63, 80, 100, 125, 160, 200, 250, 320, 400, 500, 630, 800, 1_000,
];

/// The long form of a limit.
fn table(notation: &Value) -> Option<Map<String, Value>> {
    match notation {
        Value::Object(table) => Some(table.clone()),
        Value::String(text) => {
            let (limit, window) = text.split_once('/')?;
            let limit: u64 = limit.parse().ok()?;
            let fields = [("limit", limit.into()), ("window", window.into())];
            Some(
                fields
                    .map(|(name, value): (&str, Value)| (name.to_owned(), value))
                    .into_iter()
                    .collect(),
            )
        }
        _ => None,
    }
}

fn with(table: &Map<String, Value>, field: &str, value: Value) -> Value {
    let mut table = table.clone();
    table.insert(field.to_owned(), value);
    Value::Object(table)
}

fn policy(name: &str, notation: &Value) -> Option<Policy> {
    Candidate::new(name, notation.clone()).ok().map(|candidate| candidate.policy)
}
