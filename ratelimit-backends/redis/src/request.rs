//! One batch on its way to the server.

use std::{slice, sync::Arc};

use ratelimit_backend::{BackendError, ErrorKind};
use ratelimit_core::Micros;
use tokio::time::{Instant, timeout_at};

use crate::{
    coalesce::{BatchKey, Coalescer, Outcome},
    connection::client::{Bytes, Reply},
    dispatch::{Code, Command},
    error::protocol_error,
    script::Script,
    wait_queue::Turn,
};

/// The keys of a batch's states, and its deadline.
pub(crate) struct Request {
    pub(crate) coalescer: Arc<Coalescer>,
    pub(crate) keys: Vec<String>,
    pub(crate) deadline: Instant,
}

impl Request {
    /// Runs a script on the states, which may charge or never does.
    pub(crate) fn run(
        &self,
        script: &'static Script,
        arguments: Vec<Bytes>,
        charges: bool,
    ) -> impl Future<Output = Outcome> {
        let code = Code::Script(script);
        let command = Command { code, keys: &self.keys, arguments, charges };
        self.coalescer.servers.run(command, self.deadline)
    }

    /// Reads all elements of the list under one of the keys. The server does so much faster than its
    /// scripts do.
    pub(crate) async fn elements(&self, key: &String) -> Result<Vec<Reply>, BackendError> {
        let arguments = vec![Bytes::from_static(b"0"), Bytes::from_static(b"-1")];
        let code = Code::Plain("LRANGE");
        let command = Command { code, keys: slice::from_ref(key), arguments, charges: false };
        match self.coalescer.servers.run(command, self.deadline).await? {
            Reply::Array(elements) => Ok(elements),
            _ => Err(protocol_error(false)),
        }
    }

    /// Spends on the first state, or takes, in one command with others that share all but the key and
    /// the terms.
    pub(crate) fn spend(&self, batch: BatchKey, terms: Bytes) -> impl Future<Output = Outcome> {
        let alone = self.keys.first_chunk().expect("a batch that is sent has a check");
        self.coalescer.spend(batch, (alone, terms), self.deadline)
    }

    /// Waits for a turn on the first key, among the callers of this runtime; true if there was a
    /// wait.
    pub(crate) async fn turn(&self) -> Result<(Turn, bool), BackendError> {
        let key = self.keys.first().expect("a batch that is sent has a check");
        let turn = timeout_at(self.deadline, self.coalescer.turns.wait(key)).await;
        turn.map_err(|_| BackendError::not_applied(ErrorKind::Timeout))
    }

    /// The time as scripts take it.
    pub(crate) fn time(&self) -> Result<Bytes, BackendError> {
        self.coalescer.clock.argument()
    }

    /// The time to live of a record with that lifetime.
    pub(crate) fn ttl_ms(&self, lifetime: Micros) -> u64 {
        lifetime.as_micros().div_ceil(1_000).max(1) + self.coalescer.clock.spare_ms()
    }
}
