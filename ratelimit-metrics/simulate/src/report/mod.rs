//! The report: what each candidate would have done, in numbers.

mod chart;
mod format;
mod page;
mod table;

use std::cmp::Reverse;

use ratelimit_core::Micros;
use serde::Serialize;

use crate::{
    candidates::{Candidate, to_toml},
    reader::LogCounts,
    search::{Family, Share},
    simulation::{Denials, Simulation},
};

/// The results of each candidate on the requests of a log.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Counts of the lines, if the requests come from a log.
    pub log: Option<LogCounts>,
    /// The requests that were decided about.
    pub requests: u64,
    /// The clients that sent them.
    pub clients: u64,
    /// The requests over time.
    pub over_time: OverTime,
    /// A report for each candidate, in the order of their names.
    pub candidates: Vec<CandidateReport>,
}

/// Counts by intervals of equal length.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct OverTime {
    /// The begin of the first interval, in seconds since the epoch.
    pub begin_seconds: u64,
    /// The length of an interval, in seconds.
    pub interval_seconds: u64,
    /// The count in each interval.
    pub requests: Vec<u64>,
}

/// The results of one candidate.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct CandidateReport {
    /// The name.
    pub name: String,
    /// The limit in the notation of limits files.
    pub limit: String,
    /// The requests admitted.
    pub admitted: u64,
    /// The requests denied.
    pub denied: u64,
    /// The requests among these whose cost is beyond the limit, so that no wait would help.
    pub too_costly: u64,
    /// The clients with a denied request.
    pub clients_denied: u64,
    /// The longest time for which a denied request would have had to wait, in microseconds.
    pub longest_denial: Micros,
    /// The clients with most denied requests, at most ten.
    pub most_affected: Vec<Affected>,
    /// Clients by how many of their requests were denied: none, 1, 2 to 9, 10 to 99, 100 to 999,
    /// more.
    pub clients_by_denials: [u64; 6],
    /// Clients without a denied request, by the share of the limit that they had left when they had
    /// least: less than 10 %, less than 20 %, and so on.
    pub clients_by_headroom: [u64; 10],
    /// The denied requests over time, in the intervals of the report's requests.
    pub denied_over_time: Vec<u64>,
    /// The smallest limits of this kind that deny few enough clients, if they were looked for.
    pub smallest: Option<Smallest>,
}

/// A client with denied requests.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Affected {
    /// The first address, or the text, by which the client was known.
    pub client: String,
    /// All its requests.
    pub requests: u64,
    /// Its denied requests.
    pub denied: u64,
    /// The longest time for which one would have had to wait, in microseconds.
    pub longest_denial: Micros,
}

/// The smallest limits that deny at most a share of the clients.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Smallest {
    /// The share, as in `1%`.
    pub deny_at_most: String,
    /// The smallest limit at the candidate's rate, or window; `None` if none is small enough to tell.
    pub limit: Option<String>,
    /// The slowest of the rates that were tried at which the candidate's size is enough, as in
    /// `50/60s`; `None` if there is none, or the limit has one number only.
    pub rate: Option<String>,
    /// The smallest size at each rate that was tried; empty if the limit has one number only.
    pub frontier: Vec<FrontierPoint>,
}

/// A rate, and the smallest size that denies few enough clients at it.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct FrontierPoint {
    /// The rate, as in `50/60s`.
    pub rate: String,
    /// The same in permits per second.
    pub per_second: f64,
    /// The smallest size; `None` if it is larger than can be told.
    pub size: Option<u64>,
}

impl Report {
    /// The report as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and texts are JSON")
    }

    /// The smallest limits that were found, as a limits file in TOML.
    #[must_use]
    pub fn to_limits_file(&self) -> String {
        let smallest = |one: &CandidateReport| {
            let limit = one.smallest.as_ref()?.limit.as_ref()?;
            Some(format!("{} = {limit}\n", one.name))
        };
        self.candidates.iter().filter_map(smallest).collect()
    }
}

impl Simulation {
    /// The report on the requests so far. Takes time in proportion to the clients and candidates.
    #[must_use]
    pub fn report(&self) -> Report {
        let candidates = self.candidates.0.iter().enumerate();
        Report {
            log: None,
            requests: self.requests.iter().sum(),
            clients: self.clients.len() as u64,
            over_time: OverTime {
                begin_seconds: self.timeline.begin_seconds(),
                interval_seconds: self.timeline.seconds(),
                requests: self.timeline.column(0),
            },
            candidates: candidates.map(|(column, candidate)| self.one(column, candidate)).collect(),
        }
    }

    /// The report on one candidate.
    fn one(&self, column: usize, candidate: &Candidate) -> CandidateReport {
        let totals = &self.columns[column];
        let width = self.columns.len();
        let cells = self.cells.iter().skip(column).step_by(width);
        let denials = || self.denials.iter().skip(column).step_by(width);
        let mut by_denials = [0; 6];
        let mut by_headroom = [0; 10];
        for (cell, denials) in cells.zip(denials()) {
            by_denials[denials_bin(denials.requests)] += 1;
            if denials.requests == 0 {
                by_headroom[headroom_bin(cell.least_left, candidate.policy.limit())] += 1;
            }
        }
        let family = self.families.get(column).zip(self.share);
        CandidateReport {
            name: candidate.policy.name().to_owned(),
            limit: to_toml(&candidate.notation),
            admitted: totals.admitted,
            denied: totals.denied,
            too_costly: totals.too_costly,
            clients_denied: by_denials[1..].iter().sum(),
            longest_denial: denials().map(|denials| denials.longest).max().unwrap_or_default(),
            most_affected: self.most_affected(denials()),
            clients_by_denials: by_denials,
            clients_by_headroom: by_headroom,
            denied_over_time: self.timeline.column(1 + column),
            smallest: family.map(|(family, share)| smallest(family, share)),
        }
    }

    fn most_affected<'a>(&self, denials: impl Iterator<Item = &'a Denials>) -> Vec<Affected> {
        let mut denied: Vec<_> = denials.enumerate().filter(|(_, it)| 0 < it.requests).collect();
        // Of equals, the one that came first.
        denied.sort_by_key(|(_, denials)| Reverse((denials.requests, denials.longest)));
        let affected = |(client, denials): &(usize, &Denials)| Affected {
            client: self.clients.name(*client).to_owned(),
            requests: self.requests[*client],
            denied: denials.requests,
            longest_denial: denials.longest,
        };
        denied.iter().take(MOST_AFFECTED_MAX).map(affected).collect()
    }
}

const MOST_AFFECTED_MAX: usize = 10;

fn denials_bin(denied: u64) -> usize {
    [1, 2, 10, 100, 1_000].partition_point(|least| *least <= denied)
}

fn headroom_bin(left: u64, limit: u64) -> usize {
    let tenths = u128::from(left) * 10 / u128::from(limit).max(1);
    usize::try_from(tenths).map_or(9, |tenths| tenths.min(9))
}

fn smallest(family: &Family, share: Share) -> Smallest {
    let sizes: Vec<_> =
        (0..family.members.len()).map(|member| family.smallest_size(member, share)).collect();
    let is_enough = |member: &usize| sizes[*member].is_some_and(|size| size <= family.own_size);
    let point = |(member, size): (usize, &Option<u64>)| {
        let (rate, per_second) = (family.rate(member)?, family.per_second(member));
        Some(FrontierPoint { rate, per_second, size: *size })
    };
    Smallest {
        deny_at_most: share.to_string(),
        limit: sizes[family.own].map(|size| to_toml(&family.notation(family.own, size))),
        rate: (0..sizes.len()).find(is_enough).and_then(|member| family.rate(member)),
        frontier: sizes.iter().enumerate().filter_map(point).collect(),
    }
}
