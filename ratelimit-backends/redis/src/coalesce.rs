//! Checks that share a command.
//!
//! Who comes alone is sent at once, alone. Who comes while two commands of the same policy and cost
//! are under way waits until one of them lands, but for a millisecond at most, and goes with all
//! who have come meanwhile, in their order. The script decides each of them by itself, as if it had
//! come alone. So a busy server spends its time on decisions instead of on commands.
//!
//! Those who share a command hear of its end, by the deadline of the first of them; who has left
//! before it is sent is not charged.

use std::{
    collections::{HashMap, VecDeque},
    iter, slice,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fred::{bytes::Bytes, types::Value};
use ratelimit_backend::{BackendError, ErrorKind};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

use crate::{
    clock::ScriptClock,
    dispatch::{Call, Connection},
    reply::nonsense,
    script::Script,
};

/// The way of checks to the server, together or alone.
pub(crate) struct Lanes {
    pub(crate) connection: Connection,
    pub(crate) clock: ScriptClock,
    /// How many checks may share a command.
    group_max: usize,
    callers_max: usize,
    traffic: Mutex<Traffic>,
}

/// What checks that share a command have in common: all but their keys.
#[derive(Debug, Eq, Hash, PartialEq)]
pub(crate) struct Errand {
    pub(crate) script: &'static Script,
    pub(crate) header: Bytes,
    pub(crate) terms: Bytes,
}

/// An errand; in a cluster, to keys of one slot.
type Lane = (Errand, Option<u16>);

type Answer = Result<Value, BackendError>;

#[derive(Default)]
struct Traffic {
    /// Those with a command under way.
    lanes: HashMap<Arc<Lane>, Queue>,
    /// All who have no answer yet.
    callers: usize,
}

#[derive(Default)]
struct Queue {
    under_way: usize,
    waiting: VecDeque<Caller>,
    /// Whether somebody is to send those that wait, and is to be told that a command has landed.
    departs: bool,
    landed: Option<oneshot::Sender<()>>,
}

struct Caller {
    key: String,
    deadline: Instant,
    answer: oneshot::Sender<Answer>,
}

/// Where a caller is, once it has come.
enum Place {
    /// Its command is its own.
    Alone(Arc<Lane>),
    /// Its command can be sent.
    First(Flight),
    Waiting(oneshot::Receiver<Answer>),
}

impl Lanes {
    pub(crate) fn new(
        connection: Connection,
        clock: ScriptClock,
        group_max: usize,
        callers_max: usize,
    ) -> Self {
        Self { connection, clock, group_max, callers_max, traffic: Mutex::default() }
    }

    /// Asks about one key, together with whoever is on the same errand.
    ///
    /// All but the wait is done here, and not in the future, which would take room for it.
    pub(crate) fn ask(
        self: &Arc<Self>,
        errand: Errand,
        alone: &[String; 1],
        deadline: Instant,
    ) -> impl Future<Output = Answer> {
        let [key] = alone;
        let lane = Arc::new((errand, self.connection.slot(key)));
        let place = if self.group_max <= 1 {
            Ok(Place::Alone(lane))
        } else {
            self.enter(&lane, key, deadline)
        };
        async move {
            match place? {
                Place::Alone(lane) => self.ask_all(&lane.0, alone, deadline).await,
                Place::First(flight) => self.ask_all(&flight.lane.0, alone, deadline).await,
                Place::Waiting(answer) => answer.await.unwrap_or_else(|_| Err(closed())),
            }
        }
    }

    async fn ask_all(&self, errand: &Errand, keys: &[String], deadline: Instant) -> Answer {
        let Errand { script, header, terms } = errand;
        let [header, terms] = [header, terms].map(|bytes| Value::Bytes(bytes.clone()));
        let arguments = vec![self.clock.argument()?, "spend".into(), header, terms];
        self.connection.run(Call { script, keys, arguments, charges: true }, deadline).await
    }

    fn enter(
        self: &Arc<Self>,
        lane: &Arc<Lane>,
        key: &str,
        deadline: Instant,
    ) -> Result<Place, BackendError> {
        let mut traffic = self.traffic();
        let Traffic { lanes, callers } = &mut *traffic;
        let queue = lanes.entry(Arc::clone(lane)).or_default();
        if queue.under_way < UNDER_WAY_MAX && queue.waiting.is_empty() {
            queue.under_way += 1;
            *callers += 1;
            return Ok(Place::First(self.flight(lane, 1)));
        }
        if self.callers_max <= *callers {
            return Err(BackendError::not_applied(ErrorKind::Overloaded));
        }
        *callers += 1;
        let (answer, waiting) = oneshot::channel();
        queue.waiting.push_back(Caller { key: key.to_owned(), deadline, answer });
        let landing = queue.await_landing();
        drop(traffic);
        self.prepare(lane, landing);
        Ok(Place::Waiting(waiting))
    }

    /// Lets somebody wait for a command to land, and then send the next. Not under the lock: if the
    /// runtime has shut down, it ends at once.
    fn prepare(self: &Arc<Self>, lane: &Arc<Lane>, landing: Option<oneshot::Receiver<()>>) {
        if let Some(landing) = landing {
            tokio::spawn(self.flight(lane, 0).depart(landing));
        }
    }

    fn flight(self: &Arc<Self>, lane: &Arc<Lane>, callers: usize) -> Flight {
        Flight { lanes: Arc::clone(self), lane: Arc::clone(lane), callers }
    }

    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// What tells who sends those that wait that a command has landed; `None` if nobody waits, or
    /// somebody has it.
    fn await_landing(&mut self) -> Option<oneshot::Receiver<()>> {
        if self.departs || self.waiting.is_empty() {
            return None;
        }
        let (landed, landing) = oneshot::channel();
        (self.departs, self.landed) = (true, Some(landed));
        Some(landing)
    }
}

/// A command that is under way; or will be, and has nobody on board yet.
struct Flight {
    lanes: Arc<Lanes>,
    lane: Arc<Lane>,
    callers: usize,
}

impl Flight {
    /// Sends those that wait, once a command has landed.
    async fn depart(mut self, landing: oneshot::Receiver<()>) {
        let _ = timeout(PATIENCE, landing).await;
        let mut group = self.board();
        group.retain(|caller| !caller.answer.is_closed());
        let now = Instant::now();
        let late = group.iter().take_while(|caller| caller.deadline <= now).count();
        group.drain(..late).for_each(|caller| caller.tell(Err(too_late())));
        let Some(deadline) = group.first().map(|first| first.deadline) else { return };

        let keys: Vec<_> = group.iter().map(|caller| caller.key.clone()).collect();
        let answer = self.lanes.ask_all(&self.lane.0, &keys, deadline).await;
        self.share_out(group, answer);
    }

    /// Tells each caller its part of an answer, or what has become of all.
    fn share_out(&self, group: Vec<Caller>, answer: Answer) {
        let tell_all = |group: Vec<Caller>, answer: Answer| {
            group.into_iter().for_each(|caller| caller.tell(answer.clone()));
        };
        match answer {
            Ok(Value::Array(answers)) if answers.len() == group.len() => {
                iter::zip(group, answers).for_each(|(caller, answer)| caller.tell(Ok(answer)));
            }
            Ok(answer) if group.len() == 1 => tell_all(group, Ok(answer)),
            Ok(_) => tell_all(group, Err(nonsense(true))),
            // Nothing was charged. A denial is one still, where another's charge found no room.
            Err(error) if error.kind() == ErrorKind::Full => {
                group.into_iter().for_each(|caller| self.send_alone(caller));
            }
            Err(error) => tell_all(group, Err(error)),
        }
    }

    /// Takes as many as may go.
    fn board(&mut self) -> Vec<Caller> {
        let mut traffic = self.lanes.traffic();
        let Some(queue) = traffic.lanes.get_mut(&self.lane) else { return Vec::new() };
        let count = queue.waiting.len().min(self.lanes.group_max);
        let group = queue.waiting.drain(..count).collect();
        queue.under_way += 1;
        self.callers = count;
        queue.departs = false;
        let landing = queue.await_landing();
        drop(traffic);
        self.lanes.prepare(&self.lane, landing);
        group
    }

    fn send_alone(&self, caller: Caller) {
        let (lanes, lane) = (Arc::clone(&self.lanes), Arc::clone(&self.lane));
        tokio::spawn(async move {
            let answer =
                lanes.ask_all(&lane.0, slice::from_ref(&caller.key), caller.deadline).await;
            caller.tell(answer);
        });
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut traffic = self.lanes.traffic();
        let Traffic { lanes, callers } = &mut *traffic;
        let Some(queue) = lanes.get_mut(&self.lane) else { return };
        if self.callers == 0 {
            // The runtime has shut down before anybody was on board: so it has for those that wait.
            *callers -= queue.waiting.len();
            *queue = Queue { under_way: queue.under_way, ..Queue::default() };
        } else {
            *callers -= self.callers;
            queue.under_way -= 1;
            queue.landed.take().map(|landed| landed.send(()));
        }
        if queue.under_way == 0 && !queue.departs {
            lanes.remove(&self.lane);
        }
    }
}

impl Caller {
    /// Gives the answer, unless the caller has left.
    fn tell(self, answer: Answer) {
        let _ = self.answer.send(answer);
    }
}

/// Time was up before it was sent.
const fn too_late() -> BackendError {
    BackendError::not_applied(ErrorKind::Timeout)
}

/// The runtime has shut down, and nobody knows whether the command was sent.
const fn closed() -> BackendError {
    BackendError::unknown(ErrorKind::Closed)
}

/// While the server works on one command, the next one is there already.
const UNDER_WAY_MAX: usize = 2;

/// So long at most somebody waits for a command to land: where the way is long, a few commands more
/// cost less than another round of it.
const PATIENCE: Duration = Duration::from_millis(1);
