//! A connection that is up, and a call over it.

pub(crate) mod client;
pub(crate) mod connect;
pub(crate) mod node;
pub(crate) mod reconnect;
pub(crate) mod recoveries;

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use ratelimit_backend::{BackendError, ErrorKind};
use tokio::{runtime::Handle, sync::Notify, time::Instant};

use crate::error;
use client::{Bytes, Cause, Client, Driver, Failure, Reply};
use connect::Connector;
use recoveries::Recoveries;

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    client: Client,
    since: Instant,
    /// The time of the last reply, in microseconds since then.
    heard: AtomicU64,
    /// The longest silence of a server that owes a reply.
    silence_max: Duration,
    in_flight: AtomicUsize,
    in_flight_max: usize,
    ending: Notify,
    reason: OnceLock<BackendError>,
    recoveries: Arc<Recoveries>,
}

impl Connection {
    pub(crate) fn new(client: Client, connector: &Connector) -> Self {
        Self {
            client,
            since: Instant::now(),
            heard: AtomicU64::new(0),
            silence_max: connector.timeout,
            in_flight: AtomicUsize::new(0),
            in_flight_max: connector.queue_max,
            ending: Notify::new(),
            reason: OnceLock::new(),
            recoveries: Arc::clone(&connector.recoveries),
        }
    }

    /// Sends a command and waits for its reply, until the deadline at most.
    ///
    /// The command goes on when this is dropped, until it has its reply or the deadline has passed;
    /// else it could wait in a queue, and be sent much later.
    pub(crate) fn call(
        self: &Arc<Self>,
        command: &'static str,
        arguments: Vec<Bytes>,
        deadline: Instant,
    ) -> impl Future<Output = Result<Reply, Failure>> + Send + use<> {
        self.track(self.client.call(command, arguments, wait_until(deadline)))
    }

    /// Sends a command to a node that the key's slot is only on its way to.
    pub(crate) fn call_asking(
        self: &Arc<Self>,
        command: &'static str,
        arguments: Vec<Bytes>,
        deadline: Instant,
    ) -> impl Future<Output = Result<Reply, Failure>> + Send + use<> {
        self.track(Box::pin(self.client.call_asking(command, arguments, wait_until(deadline))))
    }

    /// The host by which the server was found.
    pub(crate) fn host(&self) -> String {
        self.client.host()
    }

    /// Gives the connection up; calls fail with the reason from now on.
    pub(crate) fn give_up(&self, reason: BackendError) {
        let _ = self.reason.set(reason);
        self.ending.notify_one();
    }

    /// The reason for which the connection was given up, if it was.
    pub(crate) fn given_up(&self) -> Option<BackendError> {
        self.reason.get().cloned()
    }

    /// Waits for the end of the connection, and returns the reason.
    pub(crate) async fn ended(&self, mut driver: Driver) -> BackendError {
        tokio::select! {
            () = driver.ended() => {}
            () = self.ending.notified() => {}
        }
        let lost = || BackendError::not_applied(ErrorKind::Unavailable).with_source(Lost);
        self.given_up().unwrap_or_else(lost)
    }

    /// Runs a call to its end, unless too many are in flight already.
    fn track<F>(self: &Arc<Self>, reply: F) -> ToEnd<impl Future<Output = F::Output> + use<F>>
    where
        F: Future<Output = Result<Reply, Failure>> + Send + 'static,
    {
        let connection = Arc::clone(self);
        ToEnd::new(async move {
            let before = connection.in_flight.fetch_add(1, Ordering::Relaxed);
            let reply = if before < connection.in_flight_max {
                let sent = Instant::now();
                connection.note(sent, reply.await)
            } else {
                Err(Failure::backpressure())
            };
            connection.in_flight.fetch_sub(1, Ordering::Relaxed);
            reply
        })
    }

    /// Notes a reply, or that none came; a server that has been silent for too long is given up.
    fn note(&self, sent: Instant, reply: Result<Reply, Failure>) -> Result<Reply, Failure> {
        let now = self.micros(Instant::now());
        let _ = reply.as_ref().inspect_err(|failure| self.recoveries.failed(failure));
        match &reply {
            Err(failure) if failure.cause == Cause::Timeout => {
                let heard = self.heard.load(Ordering::Relaxed);
                if heard <= self.micros(sent)
                    && self.silence_max.as_micros() <= u128::from(now - heard)
                {
                    let reason = BackendError::not_applied(ErrorKind::Unavailable);
                    self.give_up(reason.with_source(Silent));
                }
            }
            Err(failure) if error::word(&failure.details).is_none() => {}
            // A reply, be it a refusal.
            _ => drop(self.heard.fetch_max(now, Ordering::Relaxed)),
        }
        reply
    }

    fn micros(&self, at: Instant) -> u64 {
        u64::try_from((at - self.since).as_micros()).unwrap_or(u64::MAX)
    }
}

fn wait_until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// A future that goes on by itself when it is dropped.
struct ToEnd<F: Future<Output: Send> + Send + 'static> {
    rest: Option<Pin<Box<F>>>,
    runtime: Handle,
}

impl<F: Future<Output: Send> + Send + 'static> ToEnd<F> {
    fn new(future: F) -> Self {
        Self { rest: Some(Box::pin(future)), runtime: Handle::current() }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for ToEnd<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(rest) = &mut self.rest else { return Poll::Pending };
        let poll = rest.as_mut().poll(context);
        if poll.is_ready() {
            self.rest = None;
        }
        poll
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for ToEnd<F> {
    fn drop(&mut self) {
        if let Some(rest) = self.rest.take() {
            self.runtime.spawn(rest);
        }
    }
}

/// The connection has ended.
#[derive(Debug, thiserror::Error)]
#[error("connection was lost")]
struct Lost;

/// The connection was given up.
#[derive(Debug, thiserror::Error)]
#[error("server was silent")]
struct Silent;
