//! Holders, a network and a store in simulated time.
//!
//! Nothing moves by itself: a test serves messages, delivers replies and moves time, in whatever order it
//! likes. What holders have begun runs until it waits, after each such step.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    slice,
    sync::{Arc, Mutex},
};

use ratelimit_backend::{Backend, BackendError, ErrorKind, ManualClock, Names, Reply};
use ratelimit_core::{
    Action, Batch, Check, Decision, Key, Micros, Policy, Receipt, Source, Timestamp,
    store::{Decisions, Record, apply},
};
use ratelimit_lease::{LeaseLength, LeaseStats, Leased};
use tokio::{sync::oneshot, task::JoinHandle};

use crate::bound::Use;

/// All that is simulated. Time is in microseconds since the start.
pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) holders: Vec<Holder>,
    length: LeaseLength,
    keys_max: NonZeroUsize,
    network: Network,
    /// Messages that the store has answered, in order.
    replies: Vec<(oneshot::Sender<Answer>, Answer)>,
    store: HashMap<String, Option<Record>>,
    /// Earlier states of the store, with their instants, for a failover.
    snapshots: Vec<(u64, HashMap<String, Option<Record>>)>,
    /// Permits that the store has charged, with their instants.
    charges: Vec<(u64, u64)>,
    admitted: Arc<Mutex<Vec<Admission>>>,
}

/// A process that holds leases.
pub(crate) struct Holder {
    pub(crate) leased: Leased<Remote, ManualClock>,
    clock: ManualClock,
    /// Parts per million by which its clock is fast.
    pub(crate) drift: i64,
    number: usize,
    tasks: Vec<JoinHandle<()>>,
}

/// Permits that a request was admitted with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admission {
    pub(crate) holder: usize,
    /// The place of its policy in the batch.
    pub(crate) policy: usize,
    pub(crate) at: u64,
    pub(crate) permits: u64,
    pub(crate) source: Source,
    /// `None` once it was refunded.
    pub(crate) receipt: Option<Receipt>,
}

type Answer = Result<Decisions, BackendError>;
type Network = Arc<Mutex<Vec<Message>>>;

/// A batch on its way to the store.
pub(crate) struct Message {
    pub(crate) holder: usize,
    pub(crate) action: Action,
    checks: Vec<(Policy, Vec<u8>, u64, Option<Receipt>)>,
    reply: oneshot::Sender<Answer>,
}

/// The store, as a holder sees it.
#[derive(Debug)]
pub(crate) struct Remote {
    holder: usize,
    network: Network,
    names: Names,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} of holder {}", self.action, self.holder)
    }
}

impl Backend for Remote {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        Reply::waiting(async move {
            let (reply, answer) = oneshot::channel();
            let check = |check: &Check<'_>| {
                let key = check.key().as_bytes().to_vec();
                (check.policy().clone(), key, check.cost().get(), check.receipt())
            };
            let checks = batch.checks().iter().map(check).collect();
            let message = Message { holder: self.holder, action, checks, reply };
            self.network.lock().unwrap().push(message);
            let lost = || Err(BackendError::unknown(ErrorKind::Timeout));
            answer.await.unwrap_or_else(|_| lost())
        })
    }

    fn names(&self) -> &Names {
        &self.names
    }
}

impl World {
    /// Runs `work` in a world of so many holders.
    pub(crate) fn run(holders: usize, length: Micros, work: impl AsyncFnOnce(&mut Self)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut world = Self {
                now: 0,
                holders: Vec::new(),
                length: LeaseLength::time(length.into()),
                keys_max: NonZeroUsize::new(8).unwrap(),
                network: Network::default(),
                replies: Vec::new(),
                store: HashMap::new(),
                snapshots: Vec::new(),
                charges: Vec::new(),
                admitted: Arc::default(),
            };
            world.holders = (0..holders).map(|number| world.holder(number)).collect();
            work(&mut world).await;
        });
    }

    fn holder(&self, number: usize) -> Holder {
        let clock = ManualClock::new(self.time(0));
        let network = Arc::clone(&self.network);
        let remote = Remote { holder: number, network, names: Names::default() };
        let leased = Leased::with_clock(remote, self.length, clock.clone(), self.keys_max);
        Holder { leased, clock, drift: 0, number, tasks: Vec::new() }
    }

    /// The time on a clock that is fast by so many parts per million.
    fn time(&self, drift: i64) -> Timestamp {
        let passed = i128::from(self.now) * (1_000_000 + i128::from(drift)) / 1_000_000;
        Timestamp::EPOCH + Micros::new(START + u64::try_from(passed).unwrap())
    }

    /// Moves time.
    pub(crate) fn advance(&mut self, micros: u64) {
        self.now += micros;
        for holder in &self.holders {
            holder.clock.set(self.time(holder.drift));
        }
    }

    /// Sends requests of a batch, until they wait; each spends the same cost under every policy.
    pub(crate) async fn request(&mut self, holder: usize, policies: &[Policy], cost: u64) {
        let leased = self.holders[holder].leased.clone();
        let (policies, admitted, now) = (policies.to_vec(), Arc::clone(&self.admitted), self.now);
        let task = tokio::spawn(async move {
            let key = Key::new("key").unwrap();
            let checks = policies.iter().map(|policy| Check::new(policy, key, cost).unwrap());
            let checks: Vec<_> = checks.collect();
            let batch = Batch::new(&checks).unwrap();
            let Ok(decisions) = leased.apply(batch, Action::Spend).await else { return };
            if !decisions.iter().all(|decision| decision.is_allowed()) {
                return;
            }
            for (index, (policy, decision)) in policies.iter().zip(&*decisions).enumerate() {
                // What the store decides is used as it is charged, as without leases.
                let at = match decision.source() {
                    Source::Store => decision.at.as_micros() - START,
                    Source::Lease => now,
                    source => panic!("{source:?}"),
                };
                let receipt = Some(Receipt::of(decision, policy, cost));
                let (source, permits) = (decision.source(), cost);
                let admission = Admission { holder, policy: index, at, permits, source, receipt };
                admitted.lock().unwrap().push(admission);
            }
        });
        self.holders[holder].tasks.push(task);
        self.settle().await;
    }

    /// Lets everybody run until nobody can.
    pub(crate) async fn settle(&mut self) {
        for _ in 0..YIELDS {
            tokio::task::yield_now().await;
        }
    }

    /// Sends a receipt of an admission back, through a holder, as an application would.
    pub(crate) async fn refund(&mut self, policies: &[Policy], admission: usize) {
        let taken = {
            let mut admitted = self.admitted.lock().unwrap();
            admitted.get_mut(admission).and_then(|one| {
                let receipt = one.receipt.take()?;
                let permits = std::mem::take(&mut one.permits);
                Some((one.holder, policies[one.policy].clone(), permits, receipt))
            })
        };
        let Some((holder, policy, permits, receipt)) = taken else { return };
        let holder = &mut self.holders[holder];
        let leased = holder.leased.clone();
        holder.tasks.push(tokio::spawn(async move {
            let check = Check::new(&policy, Key::new("key").unwrap(), permits).unwrap();
            let check = check.with_receipt(Some(receipt));
            let _ = leased.apply(Batch::one(&check), Action::Refund).await;
        }));
        self.settle().await;
    }

    /// Begins to give all back that a holder holds.
    pub(crate) async fn close(&mut self, holder: usize) {
        let leased = self.holders[holder].leased.clone();
        self.holders[holder].tasks.push(tokio::spawn(async move {
            leased.close().await;
        }));
        self.settle().await;
    }

    /// Ends a holder as a crash would; a new one takes its place. What it has sent may still arrive.
    pub(crate) async fn crash(&mut self, holder: usize) {
        let number = self.holders[holder].number;
        let new = self.holder(number);
        let old = std::mem::replace(&mut self.holders[holder], new);
        old.tasks.iter().for_each(JoinHandle::abort);
        self.advance(0);
        self.settle().await;
    }

    /// The holders of the messages that are on their way to the store, and what they ask for.
    pub(crate) fn senders(&self) -> Vec<(usize, Action)> {
        let network = self.network.lock().unwrap();
        network.iter().map(|message| (message.holder, message.action)).collect()
    }

    /// The number of messages that are on their way to the store.
    pub(crate) fn messages(&self) -> usize {
        self.network.lock().unwrap().len()
    }

    pub(crate) const fn replies(&self) -> usize {
        self.replies.len()
    }

    /// The store does what a message says; the reply is on its way then.
    pub(crate) fn serve(&mut self, message: usize) {
        let Message { action, checks, reply, .. } = self.network.lock().unwrap().remove(message);
        let checks = checks.iter().map(|(policy, key, cost, receipt)| {
            let check = Check::new(policy, Key::new(key).unwrap(), *cost).unwrap();
            check.with_receipt(*receipt)
        });
        let answer = self.decide(&checks.collect::<Vec<_>>(), action);
        self.replies.push((reply, answer));
    }

    fn decide(&mut self, checks: &[Check<'_>], action: Action) -> Answer {
        let name = |check: &Check<'_>| check.policy().name().to_owned();
        let records = checks.iter().map(|check| self.store.remove(&name(check)).flatten());
        let mut records: Vec<_> = records.collect();
        let answer = apply(Batch::new(checks).unwrap(), action, &mut records, self.time(0));
        self.store.extend(checks.iter().map(name).zip(records));
        if let Ok(decisions) = &answer {
            let charged: u64 = decisions.iter().map(|decision| decision.charged()).sum();
            self.charges.push((self.now, charged));
        }
        Ok(answer?)
    }

    /// Spends or takes on the store itself. What is spent is used at once.
    pub(crate) fn apply(&mut self, policy: &Policy, action: Action, permits: u64) -> Decision {
        let check = Check::new(policy, Key::new("key").unwrap(), permits).unwrap();
        let decision = self.decide(slice::from_ref(&check), action).unwrap()[0];
        if action == Action::Spend && decision.is_allowed() {
            self.used(permits);
        }
        decision
    }

    /// Uses permits under the first policy now.
    pub(crate) fn used(&self, permits: u64) {
        let (at, source) = (self.now, Source::Store);
        let one = Admission { holder: 0, policy: 0, at, permits, source, receipt: None };
        self.admitted.lock().unwrap().push(one);
    }

    /// A message gets lost; its sender finds out at once.
    pub(crate) async fn lose_message(&mut self, message: usize) {
        self.network.lock().unwrap().remove(message);
        self.settle().await;
    }

    /// A reply arrives.
    pub(crate) async fn deliver(&mut self, reply: usize) {
        let (reply, answer) = self.replies.remove(reply);
        let _ = reply.send(answer);
        self.settle().await;
    }

    /// A reply gets lost; its receiver finds out at once.
    pub(crate) async fn lose_reply(&mut self, reply: usize) {
        drop(self.replies.remove(reply));
        self.settle().await;
    }

    /// Everything that is under way arrives at once, until nothing more is.
    pub(crate) async fn flush(&mut self) {
        while 0 < self.messages() + self.replies() {
            if 0 < self.messages() {
                self.serve(0);
            }
            if 0 < self.replies() {
                self.deliver(0).await;
            }
        }
    }

    /// Sends one request after the other until one is not admitted at once. Returns the number of those
    /// that were.
    pub(crate) async fn drain(&mut self, holder: usize, policy: &Policy) -> u64 {
        for count in 0.. {
            let before = self.admissions().len();
            self.request(holder, slice::from_ref(policy), 1).await;
            if self.admissions().len() == before {
                return count;
            }
        }
        0
    }

    /// Remembers the store as it is, for a failover.
    pub(crate) fn remember(&mut self) {
        self.snapshots.push((self.now, self.store.clone()));
    }

    /// The store becomes what it was when it was last remembered. Returns the permits that were charged since.
    pub(crate) fn fail_over(&mut self) -> u64 {
        let Some((at, store)) = self.snapshots.pop() else { return 0 };
        self.store = store;
        let lost = self.charges.iter().filter(|(charged, _)| at <= *charged);
        lost.map(|(_, permits)| permits).sum()
    }

    pub(crate) fn admissions(&self) -> Vec<Admission> {
        self.admitted.lock().unwrap().clone()
    }

    /// The permits that were used under the policy of this place.
    pub(crate) fn uses(&self, policy: usize) -> Vec<Use> {
        let of_policy = |one: &&Admission| one.policy == policy && 0 < one.permits;
        let admitted = self.admitted.lock().unwrap();
        let uses = admitted.iter().filter(of_policy);
        uses.map(|one| Use { at: one.at + START, permits: one.permits }).collect()
    }

    pub(crate) fn stats(&self, holder: usize) -> LeaseStats {
        self.holders[holder].leased.stats()
    }
}

/// The time at the start: clocks do not stand at the epoch.
pub(crate) const START: u64 = 1_700_000_000_000_000;

/// A task that waits for another one's reply is as far as it gets after so many turns.
const YIELDS: usize = 4;
