//! The route of statistics: the counts of the demo's limiters and the state of its clients, which the
//! page draws beside its own counts.

use std::{num::NonZeroUsize, sync::Arc};

use axum::{
    http::Request,
    response::{IntoResponse, Json, Response},
};
use ratelimit_algorithms::{Backend, Limiter};
use ratelimit_http::{KeyError, KeyFn, RequestKey};
use ratelimit_metrics::{Observed, Ranking, Snapshot, Statistics, TopKey, TopKeys};
use serde_json::{Map, Value, json};

/// The store of all limiters of the demo, whose decisions are counted.
pub(crate) type Store = Observed<Arc<dyn Backend>, Recorders>;

type Recorders = Arc<(Statistics, TopKeys)>;

/// The senders of the page's requests. These names are no secrets; other clients are shown by a
/// digest.
const CLIENTS: [&str; 2] = ["alice", "bob"];

/// Counts what is decided on `store`.
pub(crate) fn store(store: Arc<dyn Backend>) -> Store {
    Observed::new(store, Arc::new((Statistics::new(), TopKeys::new(Ranking::Denials, KEYS))))
}

/// So many that those which are shown are certain.
const KEYS: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();

/// The statistics of some limiters.
pub(crate) struct Report {
    store: Store,
    limiters: Vec<Limiter<Store>>,
    clients: Vec<(&'static str, RequestKey)>,
}

impl Report {
    /// These limiters, whose keys are found by `client`.
    pub(crate) fn new(
        store: Store,
        limiters: Vec<Limiter<Store>>,
        client: &impl KeyFn,
    ) -> Result<Self, KeyError> {
        let key = |name| {
            let request = Request::builder().header("x-api-key", name).body(());
            let (head, ()) = request.expect("a name is a header").into_parts();
            Ok((name, client.key(&head)?))
        };
        let clients = CLIENTS.into_iter().map(key).collect::<Result<_, _>>()?;
        Ok(Self { store, limiters, clients })
    }

    /// Counts, what is left to the page's clients, and who was denied most.
    pub(crate) async fn respond(&self) -> Response {
        let (statistics, top_keys) = &**self.store.recorder();
        let top = top_keys.top(OFFENDERS);
        let offenders: Vec<_> = top.iter().map(|key| self.offender(top_keys, key)).collect();
        let snapshot = statistics.snapshot();
        let mut limiters = Vec::new();
        for limiter in &self.limiters {
            limiters.push(self.limiter(&snapshot, limiter).await);
        }
        Json(json!({ "limiters": limiters, "offenders": offenders })).into_response()
    }

    async fn limiter(&self, snapshot: &Snapshot, limiter: &Limiter<Store>) -> Value {
        let totals = snapshot.limiters.iter().find(|totals| totals.limiter == limiter.name());
        let mut remaining = Map::new();
        for (name, key) in &self.clients {
            let decision = limiter.peek(key).await;
            remaining.insert((*name).into(), decision.ok().map(|it| it.remaining).into());
        }
        json!({
            "limiter": limiter.name(),
            "admitted": totals.map_or(0, |totals| totals.allowed.total()),
            "denied": totals.map_or(0, |totals| totals.denied.total()),
            "remaining": remaining,
        })
    }

    fn offender(&self, top_keys: &TopKeys, offender: &TopKey) -> Value {
        let is_of = |key: &RequestKey| top_keys.digest(&offender.limiter, key) == offender.digest;
        let known = self.clients.iter().find(|(_, key)| is_of(key));
        let client = known.map_or_else(|| offender.digest.to_string(), |(name, _)| (*name).into());
        json!({ "client": client, "limiter": offender.limiter, "denied": offender.count })
    }
}

const OFFENDERS: usize = 8;
