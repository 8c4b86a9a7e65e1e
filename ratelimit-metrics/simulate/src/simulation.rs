//! Candidate limits, and what each decides about the requests of a log.

use std::hint::black_box;

use ratelimit_core::{CostError, Decision, Micros, Policy, Timestamp, store::Record};

use crate::{
    candidates::Candidates,
    clients::Clients,
    reorder::Pending,
    search::{Family, SearchError, Share},
    slot::Slot,
    timeline::Timeline,
};

/// Decides about requests under each candidate, and counts.
///
/// The core decides: the same requests at the same times get the same decisions from a service, bit
/// for bit. Candidates are independent, and clients too, unless a limit shares its load sensor.
///
/// The memory grows with the clients, at about 60 bytes a candidate and 100 bytes besides, and not
/// with the requests. (A log of charges has an entry for each request admitted in its window.)
///
/// ```
/// use ratelimit_simulate::{Simulation, Timestamp};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut simulation = Simulation::new("api = '2/1s'".parse()?);
/// for micros in [0, 0, 0, 500_000] {
///     let at = Timestamp::from_micros(micros).ok_or("too late")?;
///     simulation.request(b"user:42", at, 1);
/// }
/// let report = simulation.report();
/// assert_eq!((report.candidates[0].admitted, report.candidates[0].denied), (3, 1));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Simulation {
    pub(crate) candidates: Candidates,
    pub(crate) columns: Vec<Column>,
    pub(crate) families: Vec<Family>,
    pub(crate) share: Option<Share>,
    pub(crate) clients: Clients,
    pub(crate) timeline: Timeline,
    /// The requests of each client.
    pub(crate) requests: Vec<u64>,
    /// A row for each client, a column for each candidate.
    pub(crate) cells: Vec<Cell>,
    /// The same for what few requests change, so that the others find all of a row close together.
    pub(crate) denials: Vec<Denials>,
    decisions: Vec<Result<Decision, CostError>>,
}

/// The totals of a candidate.
#[derive(Debug)]
pub(crate) struct Column {
    policy: Policy,
    sensor: Option<Record>,
    pub(crate) admitted: u64,
    pub(crate) denied: u64,
    /// Of these, the requests whose cost is beyond the limit.
    pub(crate) too_costly: u64,
}

/// A client under a candidate.
#[derive(Debug)]
pub(crate) struct Cell {
    slot: Slot,
    /// The fewest permits that an admitted request has left.
    pub(crate) least_left: u64,
}

/// The denials of a client under a candidate.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Denials {
    pub(crate) requests: u64,
    pub(crate) longest: Micros,
}

impl Simulation {
    /// A simulation of these candidates, with room for a million clients.
    #[must_use]
    pub fn new(candidates: Candidates) -> Self {
        let column =
            |policy: Policy| Column { policy, sensor: None, admitted: 0, denied: 0, too_costly: 0 };
        Self {
            columns: candidates.0.iter().map(|one| column(one.policy.clone())).collect(),
            timeline: Timeline::new(candidates.0.len()),
            candidates,
            families: Vec::new(),
            share: None,
            clients: Clients::new(CLIENTS_MAX),
            requests: Vec::new(),
            cells: Vec::new(),
            denials: Vec::new(),
            decisions: Vec::new(),
        }
    }

    /// The same with room for another number of clients. Requests of others are counted, and not
    /// decided.
    #[must_use]
    pub fn with_clients_max(mut self, clients_max: usize) -> Self {
        self.clients = Clients::new(clients_max);
        self
    }

    /// Also searches the smallest limits that deny at most this share of the clients: for each
    /// candidate, among limits that differ from it in their numbers only. A bucket is tried at 21
    /// rates, from a tenth to ten times its own; each takes about 40 bytes a client.
    ///
    /// # Errors
    ///
    /// If the admissions of a candidate depend on more than a rate and a size, so that nothing can be
    /// said of other numbers: one that follows the load, delays, or starts with fewer permits.
    pub fn with_search(mut self, deny_at_most: Share) -> Result<Self, SearchError> {
        self.families = self.candidates.0.iter().map(Family::new).collect::<Result<_, _>>()?;
        self.share = Some(deny_at_most);
        Ok(self)
    }

    /// Decides about a request at `at` of `cost` permits, and returns what each candidate decides, in
    /// the order of their names; nothing if the client is new and there is no room for it. Takes time
    /// in proportion to the candidates, as long as they are no logs.
    pub fn request(
        &mut self,
        key: &[u8],
        at: Timestamp,
        cost: u64,
    ) -> &[Result<Decision, CostError>] {
        let name = || String::from_utf8_lossy(key).into_owned();
        let mut decisions = std::mem::take(&mut self.decisions);
        decisions.clear();
        if let Some(client) = self.clients.number(key, name) {
            self.decide(client, at, cost, |decision| decisions.push(decision));
        }
        self.decisions = decisions;
        &self.decisions
    }

    /// Decides about requests in turn.
    pub(crate) fn decide_all(&mut self, requests: &[Pending]) {
        black_box(self.touch(requests));
        for request in requests {
            self.decide(request.client, request.at, request.cost, drop);
        }
    }

    /// Reads what the requests will change, so that the processor waits for memory once, and not for
    /// each of them.
    fn touch(&self, requests: &[Pending]) -> u64 {
        let width = self.columns.len();
        let look = |sum: u64, request: &Pending| {
            let client = request.client as usize;
            let cells = self.cells.get(client * width..(client + 1) * width).unwrap_or_default();
            let look = |cell: &Cell| cell.least_left ^ u64::from(matches!(cell.slot, Slot::New));
            let seen = cells.iter().fold(sum, |sum, cell| sum ^ look(cell));
            seen ^ self.requests.get(client).copied().unwrap_or_default()
        };
        requests.iter().fold(0, look)
    }

    #[inline(always)]
    fn decide(
        &mut self,
        client: u32,
        at: Timestamp,
        cost: u64,
        mut on_decision: impl FnMut(Result<Decision, CostError>),
    ) {
        let client = client as usize;
        let width = self.columns.len();
        if self.requests.len() <= client {
            self.requests.resize(client + 1, 0);
            self.cells.resize_with((client + 1) * width, Cell::default);
            self.denials.resize((client + 1) * width, Denials::default());
        }
        self.requests[client] += 1;
        let row = client * width;
        let cells = &mut self.cells[row..][..width];
        let interval = self.timeline.count(at);
        for (place, (column, cell)) in self.columns.iter_mut().zip(cells).enumerate() {
            let decision = column.decide(cell, at, cost);
            if let Some(retry_after) = denial(&decision) {
                interval[1 + place] += 1;
                self.denials[row + place].count(retry_after);
            }
            on_decision(decision);
        }
        for family in &mut self.families {
            family.decide(client, at, cost);
        }
    }
}

/// Room for clients, unless another number is set: some hundred megabytes.
const CLIENTS_MAX: usize = 1_000_000;

impl Column {
    #[inline(always)]
    fn decide(&mut self, cell: &mut Cell, at: Timestamp, cost: u64) -> Result<Decision, CostError> {
        let decision = cell.slot.spend((&self.policy, &mut self.sensor), at, cost);
        match decision {
            Ok(decision) if decision.is_allowed() => {
                self.admitted += 1;
                cell.least_left = cell.least_left.min(decision.remaining);
            }
            Ok(_) => self.denied += 1,
            Err(_) => {
                self.denied += 1;
                self.too_costly += 1;
            }
        }
        decision
    }
}

/// The time after which a denied request would be admitted; none at all if that never is.
fn denial(decision: &Result<Decision, CostError>) -> Option<Micros> {
    match decision {
        Ok(decision) if decision.is_allowed() => None,
        Ok(decision) => Some(decision.retry_after()),
        Err(_) => Some(Micros::ZERO),
    }
}

impl Denials {
    fn count(&mut self, retry_after: Micros) {
        self.requests += 1;
        self.longest = self.longest.max(retry_after);
    }
}

impl Default for Cell {
    fn default() -> Self {
        Self { slot: Slot::New, least_left: u64::MAX }
    }
}
