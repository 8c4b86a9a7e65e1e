//! From the lines of logs to decisions.

use std::io::Read;

use http::HeaderName;
use ratelimit_core::Timestamp;
use smallvec::SmallVec;

use crate::{
    filter::Patterns,
    keys::{Keys, NoClient, path},
    log::{Format, LogError, NoRequest, Parser, Values, format_of, read_lines},
    reorder::{Pending, Reorder},
    settings::{COST, LogSettings, METHOD, PATH, STATUS, TIME, wanted},
    simulation::Simulation,
    time,
};

/// Reads logs, and passes their requests to a simulation.
///
/// It takes some megabytes besides the simulation's memory, whatever the length of a log and of its
/// lines.
///
/// ```
/// use ratelimit_simulate::{LogReader, LogSettings, Simulation};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let log = r#"
/// 203.0.113.9 - - [10/Oct/2025:13:55:36 +0000] "GET / HTTP/1.1" 200 2326
/// 203.0.113.9 - - [10/Oct/2025:13:55:36 +0000] "GET /logo.png HTTP/1.1" 200 812
/// "#;
/// let mut simulation = Simulation::new("api = '1/1s'".parse()?);
/// let mut reader = LogReader::new(LogSettings::default())?;
/// reader.read(log.trim_ascii().as_bytes(), &mut simulation)?;
/// let counts = reader.finish(&mut simulation);
/// assert_eq!((counts.lines, counts.requests), (2, 2));
/// assert_eq!(simulation.report().candidates[0].denied, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct LogReader {
    settings: LogSettings,
    /// The names of the wanted values; those of the key follow the others.
    names: Vec<Option<String>>,
    keys: Keys,
    batch: Batch,
    order: Reorder,
    last_time: (Vec<u8>, Timestamp),
    counts: LogCounts,
}

/// Requests whose clients are looked up together: the processor waits for memory once, not for each.
#[derive(Debug, Default)]
struct Batch {
    /// The texts by which the lines name their clients, one after the other.
    said: Vec<u8>,
    requests: Vec<Unknown>,
    clients: Vec<Option<u32>>,
    ready: Vec<Pending>,
}

/// A request whose client is not looked up yet.
#[derive(Clone, Copy, Debug)]
struct Unknown {
    line: u64,
    at: Timestamp,
    cost: u64,
    /// The end of what its line says.
    end: usize,
}

/// Counts of the lines of logs.
#[derive(Clone, Debug, Default, Eq, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct LogCounts {
    /// Lines that are not empty, without headings.
    pub lines: u64,
    /// Requests that were decided about.
    pub requests: u64,
    /// Requests that the settings leave out.
    pub left_out: u64,
    /// Lines of another kind than requests.
    pub other: u64,
    /// Requests of clients for whom there was no room.
    pub no_room: u64,
    /// Requests that came later than the settings allow; they are decided about all the same, at
    /// their times, as by a clock that steps back.
    pub late: u64,
    /// Lines that cannot be read.
    pub bad: u64,
    /// The first of these.
    pub first_bad: Vec<BadLine>,
    /// The first and the last instant of a request, in microseconds since the epoch.
    pub span: Option<(Timestamp, Timestamp)>,
}

/// A line that cannot be read.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct BadLine {
    /// The number of the line in its log, from 1.
    pub line: u64,
    /// The reason why it is refused.
    pub reason: &'static str,
}

impl LogReader {
    /// A reader that has read nothing.
    ///
    /// # Errors
    ///
    /// [`LogError::Header`] if the header of the proxies has no valid name.
    pub fn new(settings: LogSettings) -> Result<Self, LogError> {
        let header = settings.forwarded.as_ref().map_or("x-forwarded-for", |(header, _)| header);
        let header = HeaderName::from_bytes(header.as_bytes())
            .map_err(|_| LogError::Header { name: header.to_owned() })?;
        let (names, parts) = wanted(&settings);
        Ok(Self {
            keys: Keys::new(parts, settings.client_ip.clone(), header),
            names,
            batch: Batch::default(),
            order: Reorder::new(settings.order_within),
            last_time: (Vec::new(), Timestamp::EPOCH),
            counts: LogCounts::default(),
            settings,
        })
    }

    /// Reads a log to its end, plain or packed by gzip.
    ///
    /// # Errors
    ///
    /// If the log has no such field as the settings name. [`LogError::Cut`] if it ends early; what was
    /// read until then counts.
    pub fn read(&mut self, log: impl Read, simulation: &mut Simulation) -> Result<(), LogError> {
        let mut parser = None;
        let mut number = 0;
        let outcome = read_lines(log, |line| {
            number += 1;
            let Some(line) = line else {
                self.counts.lines += 1;
                self.bad(number, "a line that is too long", simulation);
                return Ok(());
            };
            if line.trim_ascii().is_empty() {
                return Ok(());
            }
            if parser.is_none() {
                let new = parser.insert(self.parser(line)?);
                if new.has_heading() {
                    return Ok(());
                }
            }
            let Some(parser) = &mut parser else { return Ok(()) };
            self.counts.lines += 1;
            let mut values = Values::new();
            let read = parser.read(line, &mut values);
            self.line(number, read.map(|()| &values), simulation);
            Ok(())
        });
        self.flush(simulation);
        outcome
    }

    /// Decides about the requests that are still held back, and returns the counts.
    pub fn finish(mut self, simulation: &mut Simulation) -> LogCounts {
        let rest: Vec<_> = std::iter::from_fn(|| self.order.pop_any()).collect();
        rest.chunks(BATCH).for_each(|requests| simulation.decide_all(requests));
        self.counts.late = self.order.late;
        self.counts
    }

    fn parser(&self, first_line: &[u8]) -> Result<Parser, LogError> {
        let format = self.settings.format.unwrap_or_else(|| format_of(first_line));
        let mut names: Vec<_> = self.names.iter().map(Option::as_deref).collect();
        if format == Format::Axum {
            // Only lines with a status are requests.
            names[STATUS] = Some("status");
        }
        Parser::new(format, first_line, &names)
    }

    #[inline]
    fn line(
        &mut self,
        number: u64,
        values: Result<&Values<'_>, NoRequest>,
        simulation: &mut Simulation,
    ) {
        match values.and_then(|values| self.request(number, values)) {
            Ok(()) if self.batch.requests.len() < BATCH => {}
            Ok(()) => self.flush(simulation),
            Err(NoRequest::Other) => self.counts.other += 1,
            Err(NoRequest::Bad(reason)) => self.bad(number, reason, simulation),
        }
    }

    /// Takes a request in, unless the settings leave it out.
    #[inline]
    fn request(&mut self, line: u64, values: &Values<'_>) -> Result<(), NoRequest> {
        let at = self.time(values[TIME].as_deref().unwrap_or_default())?;
        let cost = match (&self.settings.cost, &values[COST]) {
            (None, _) => 1,
            (Some(_), value) => cost(value.as_deref())?,
        };
        if !self.counts(values) {
            self.counts.left_out += 1;
            return Ok(());
        }
        self.keys.say(values, &mut self.batch.said);
        self.batch.requests.push(Unknown { line, at, cost, end: self.batch.said.len() });
        Ok(())
    }

    /// Looks up the clients of a batch, and decides about the requests that nothing earlier can
    /// precede.
    fn flush(&mut self, simulation: &mut Simulation) {
        let Batch { said, requests, mut clients, mut ready } = std::mem::take(&mut self.batch);
        let mut begin = 0;
        let said_of = |Unknown { end, .. }: &Unknown| {
            let said = &said[begin..*end];
            begin = *end;
            said
        };
        let each_said: SmallVec<[&[u8]; BATCH]> = requests.iter().map(said_of).collect();
        let hashes: SmallVec<[u64; BATCH]> =
            each_said.iter().map(|said| self.keys.hash(said)).collect();
        let looks = hashes.iter().zip(&each_said);
        clients.extend(looks.map(|(hash, said)| self.keys.known(*hash, said)));
        for ((request, said), client) in requests.iter().zip(each_said).zip(clients.drain(..)) {
            let client = client.map_or_else(|| self.keys.client(said, &mut simulation.clients), Ok);
            match client {
                Ok(client) => self.put_in_order(*request, client, &mut ready),
                Err(NoClient::Bad(reason)) => self.count_bad(request.line, reason),
                Err(NoClient::NoRoom) => self.counts.no_room += 1,
            }
        }
        simulation.decide_all(&ready);
        self.batch = Batch { said, requests, clients, ready };
        self.batch.said.clear();
        self.batch.requests.clear();
        self.batch.ready.clear();
    }

    fn put_in_order(&mut self, request: Unknown, client: u32, ready: &mut Vec<Pending>) {
        let Unknown { at, cost, .. } = request;
        self.counts.requests += 1;
        let (first, last) = self.counts.span.unwrap_or((at, at));
        self.counts.span = Some((first.min(at), last.max(at)));
        self.order.push(Pending { at, client, cost });
        ready.extend(std::iter::from_fn(|| self.order.pop()));
    }

    /// The instant that a text says. Many lines in turn say the same.
    #[inline]
    fn time(&mut self, text: &[u8]) -> Result<Timestamp, NoRequest> {
        if self.last_time.0 != text || text.is_empty() {
            let at = time::parse(text).ok_or(NoRequest::Bad("no time"))?;
            self.last_time.0.clear();
            self.last_time.0.extend_from_slice(text);
            self.last_time.1 = at;
        }
        Ok(self.last_time.1)
    }

    /// Returns true if the settings do not leave the request out.
    #[inline]
    fn counts(&self, values: &Values<'_>) -> bool {
        let is_in = |patterns: &Patterns, place: usize, part: fn(&[u8]) -> &[u8]| {
            patterns.is_empty()
                || patterns.matches(part(values[place].as_deref().unwrap_or_default()))
        };
        is_in(&self.settings.methods, METHOD, |method| method)
            && is_in(&self.settings.paths, PATH, path)
            && is_in(&self.settings.statuses, STATUS, |status| status)
    }

    /// Counts a line that cannot be read, after the lines before it.
    #[cold]
    fn bad(&mut self, line: u64, reason: &'static str, simulation: &mut Simulation) {
        self.flush(simulation);
        self.count_bad(line, reason);
    }

    fn count_bad(&mut self, line: u64, reason: &'static str) {
        self.counts.bad += 1;
        if self.counts.first_bad.len() < BAD_SHOWN_MAX {
            self.counts.first_bad.push(BadLine { line, reason });
        }
    }
}

/// Requests in a batch.
const BATCH: usize = 64;

/// Bad lines that are told one by one.
const BAD_SHOWN_MAX: usize = 5;

/// Digits, and at least one permit.
fn cost(text: Option<&[u8]>) -> Result<u64, NoRequest> {
    let digits = text.and_then(|text| std::str::from_utf8(text).ok());
    let cost = digits.and_then(|digits| digits.parse().ok()).filter(|cost| 0 < *cost);
    cost.ok_or(NoRequest::Bad("no cost of 1 or more"))
}
