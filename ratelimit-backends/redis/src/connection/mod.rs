//! A connection that is up, and a call over it.

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

use fred::{
    clients::Client,
    error::{Error, ErrorKind as Kind},
    interfaces::ClientLike,
    types::{CustomCommand, Value, config::Options},
};
use ratelimit_backend::{BackendError, ErrorKind};
use tokio::{runtime::Handle, sync::Notify, time::Instant};

use crate::{
    connection::recoveries::Comebacks,
    connection::connect::{Dialer, Router},
    error,
};

/// A connection.
#[derive(Debug)]
pub(crate) struct Live {
    client: Client,
    since: Instant,
    /// When something was last heard from the server, in microseconds since then.
    heard: AtomicU64,
    /// How long the server may be silent while it owes an answer.
    patience: Duration,
    under_way: AtomicUsize,
    under_way_max: usize,
    ending: Notify,
    reason: OnceLock<BackendError>,
    comebacks: Arc<Comebacks>,
}

impl Live {
    pub(crate) fn new(client: Client, dialer: &Dialer) -> Self {
        Self {
            client,
            since: Instant::now(),
            heard: AtomicU64::new(0),
            patience: dialer.timeout,
            under_way: AtomicUsize::new(0),
            under_way_max: dialer.queue_max,
            ending: Notify::new(),
            reason: OnceLock::new(),
            comebacks: Arc::clone(&dialer.comebacks),
        }
    }

    /// Sends a command, and waits for its answer, but not after the deadline.
    ///
    /// When this is dropped the command goes on until it has its answer or the deadline has
    /// passed; else it could wait in a queue, and be sent much later.
    pub(crate) fn call(
        self: &Arc<Self>,
        command: &'static str,
        arguments: Vec<Value>,
        deadline: Instant,
    ) -> impl Future<Output = Result<Value, Error>> + Send + use<> {
        let command = CustomCommand::new_static(command, None, false);
        let client = self.client.with_options(&by(deadline));
        // Boxed, since it takes kilobytes, and would be moved with what is around it.
        self.whole(async move { Box::pin(client.custom(command, arguments)).await })
    }

    /// Sends a command that the server is to run although the key's slot is only on its way to
    /// it. Both words are written one after the other, whatever else is.
    pub(crate) fn call_asking(
        self: &Arc<Self>,
        command: &'static str,
        arguments: Vec<Value>,
        deadline: Instant,
    ) -> impl Future<Output = Result<Value, Error>> + Send + use<> {
        let [asking, command] =
            ["ASKING", command].map(|word| CustomCommand::new_static(word, None, false));
        let both = self.client.pipeline().with_options(&by(deadline));
        self.whole(Box::pin(async move {
            let _: Value = both.custom(asking, Vec::<Value>::new()).await?;
            let _: Value = both.custom(command, arguments).await?;
            both.last().await
        }))
    }

    /// The name by which the server was found.
    pub(crate) fn host(&self) -> String {
        let hosts = self.client.client_config().server.hosts();
        hosts.first().map_or_else(String::new, |server| server.host.to_string())
    }

    /// Gives the connection up; whoever asks from now on learns why.
    pub(crate) fn give_up(&self, reason: BackendError) {
        let _ = self.reason.set(reason);
        self.ending.notify_one();
    }

    /// Why it was, if it was.
    pub(crate) fn given_up(&self) -> Option<BackendError> {
        self.reason.get().cloned()
    }

    /// Waits for the end of the connection, and says why it has ended.
    pub(crate) async fn ended(&self, mut router: Router) -> BackendError {
        tokio::select! {
            () = router.ended() => {}
            () = self.ending.notified() => {}
        }
        let lost = || BackendError::not_applied(ErrorKind::Unavailable).with_source(Lost);
        self.given_up().unwrap_or_else(lost)
    }

    /// Waits for an answer to its end, unless too many do already.
    fn whole<F>(self: &Arc<Self>, reply: F) -> Whole<impl Future<Output = F::Output> + use<F>>
    where
        F: Future<Output = Result<Value, Error>> + Send + 'static,
    {
        let live = Arc::clone(self);
        Whole::new(async move {
            let before = live.under_way.fetch_add(1, Ordering::Relaxed);
            let reply = if before < live.under_way_max {
                let sent = Instant::now();
                live.listen(sent, reply.await)
            } else {
                Err(Error::new(Kind::Backpressure, "too many commands are under way"))
            };
            live.under_way.fetch_sub(1, Ordering::Relaxed);
            reply
        })
    }

    /// Takes note of an answer, and of none.
    fn listen(&self, sent: Instant, reply: Result<Value, Error>) -> Result<Value, Error> {
        let now = self.micros(Instant::now());
        let _ = reply.as_ref().inspect_err(|error| self.comebacks.failed(error));
        match &reply {
            Err(error) if *error.kind() == Kind::Timeout => {
                let heard = self.heard.load(Ordering::Relaxed);
                if heard <= self.micros(sent)
                    && self.patience.as_micros() <= u128::from(now - heard)
                {
                    let reason = BackendError::not_applied(ErrorKind::Unavailable);
                    self.give_up(reason.with_source(Silent));
                }
            }
            Err(error) if error::word(error.details()).is_none() => {}
            // An answer, be it a refusal.
            _ => drop(self.heard.fetch_max(now, Ordering::Relaxed)),
        }
        reply
    }

    fn micros(&self, at: Instant) -> u64 {
        u64::try_from((at - self.since).as_micros()).unwrap_or(u64::MAX)
    }
}

/// A wait that ends with the deadline; never of no time at all, which would mean for ever.
fn by(deadline: Instant) -> Options {
    let left = deadline.saturating_duration_since(Instant::now());
    Options { timeout: Some(left.max(Duration::from_millis(1))), ..Options::default() }
}

/// A future that goes on by itself when it is dropped.
struct Whole<F: Future<Output: Send> + Send + 'static> {
    rest: Option<Pin<Box<F>>>,
    runtime: Handle,
}

impl<F: Future<Output: Send> + Send + 'static> Whole<F> {
    fn new(future: F) -> Self {
        Self { rest: Some(Box::pin(future)), runtime: Handle::current() }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for Whole<F> {
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

impl<F: Future<Output: Send> + Send + 'static> Drop for Whole<F> {
    fn drop(&mut self) {
        if let Some(rest) = self.rest.take() {
            self.runtime.spawn(rest);
        }
    }
}

/// Why a connection has ended.
#[derive(Debug, thiserror::Error)]
#[error("connection was lost")]
struct Lost;

/// Why a connection was given up.
#[derive(Debug, thiserror::Error)]
#[error("server was silent")]
struct Silent;
