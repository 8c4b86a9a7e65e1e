//! Admission: from a request to its keys and its cost, and to the decision of its limits.
//!
//! [`Pipeline::admit`] goes as far as it can at once. Only if a key or the store has to be awaited,
//! the rest of the way becomes a future in a box.

use std::{future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;
use http::{Response, request::Parts};
use ratelimit_algorithms::{
    Backend, Decision, Error, Limiter, Limits, LimitsDecision, Policies, Policy, PreparedCheck,
};
use smallvec::SmallVec;

use crate::{
    AsyncKeyFn, KeyError, Rejection, RequestKey, Warning,
    diagnostics::Charged,
    headers::{LimitDecisions, PreparedHeaders},
    key::{find, find_now},
    pipeline::{Cost, Pipeline},
    response::catch_panic,
    settle::{Reservation, Reserved},
};

/// The end of admission: the request goes on to the service, or gets its response here.
pub(crate) enum Admission {
    Admit(Parts, Admitted),
    Reject(Response<Bytes>),
}

/// The work that an admitted request leaves for its response; none, if it was skipped.
#[derive(Default)]
pub(crate) struct Admitted {
    pub(crate) headers: PreparedHeaders,
    pub(crate) reservation: Option<Box<dyn Reservation>>,
}

/// A value, or the future that will give it.
pub(crate) enum MaybeReady<T> {
    Ready(T),
    Waiting(Waiting<T>),
}

pub(crate) type Waiting<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The keys of a request, in the order of its limits.
type Keys = SmallVec<[RequestKey; 1]>;

/// The arguments of a request's checks.
struct CheckArgs<B, P> {
    /// Stands in for the first limiter.
    limiter: Option<Limiter<B, P>>,
    cost: u64,
    keys: Keys,
    /// Left in the request if it is admitted.
    charged: Option<Charged>,
}

impl<B, K, P> Pipeline<B, K, P>
where
    B: Backend + Clone + 'static,
    K: AsyncKeyFn + 'static,
    P: Policies + Clone + 'static,
{
    /// Decides whether a request goes on.
    pub(crate) fn admit(self: &Arc<Self>, request: Parts) -> MaybeReady<Admission> {
        match self.is_skipped(&request) {
            Ok(false) => {}
            Ok(true) => return MaybeReady::Ready(Admission::Admit(request, Admitted::default())),
            Err(rejection) => return MaybeReady::Ready(self.reject(&rejection, &request)),
        }
        let mut keys = Keys::new();
        match self.find_ready(&request, &mut keys) {
            Some(found) => self.decide(found.map(|()| keys), request),
            None => {
                let this = Arc::clone(self);
                MaybeReady::waiting(async move {
                    let found = this.find(&request, &mut keys).await;
                    this.decide(found.map(|()| keys), request).get().await
                })
            }
        }
    }

    fn is_skipped(&self, request: &Parts) -> Result<bool, Rejection> {
        if self.skips.is_empty() {
            return Ok(false);
        }
        catch_panic(|| self.skips.iter().any(|skip| skip(request)))
    }

    /// Adds keys until all are there; `None` if the next one has to be awaited.
    fn find_ready(&self, request: &Parts, keys: &mut Keys) -> Option<Result<(), KeyError>> {
        while keys.len() <= self.more.len() {
            match find_now(self.key_fn(keys.len()), request)? {
                Ok(key) => keys.push(key),
                Err(error) => return Some(Err(error)),
            }
        }
        Some(Ok(()))
    }

    async fn find(&self, request: &Parts, keys: &mut Keys) -> Result<(), KeyError> {
        loop {
            match self.find_ready(request, keys) {
                Some(found) => return found,
                None => keys.push(find(self.key_fn(keys.len()), request).await?),
            }
        }
    }

    fn decide(
        self: &Arc<Self>,
        keys: Result<Keys, KeyError>,
        request: Parts,
    ) -> MaybeReady<Admission> {
        let args = keys.map_err(Rejection::from).and_then(|keys| self.args(keys, &request));
        let args = match args {
            Ok(args) => args,
            Err(rejection) => return MaybeReady::Ready(self.reject(&rejection, &request)),
        };
        match self.check_if_ready(&args) {
            Some(decisions) => MaybeReady::Ready(self.conclude(args, decisions, request)),
            None => {
                let this = Arc::clone(self);
                MaybeReady::waiting(async move {
                    let decisions = this.check(&args).await;
                    this.conclude(args, decisions, request)
                })
            }
        }
    }

    fn args(&self, keys: Keys, request: &Parts) -> Result<CheckArgs<B, P>, Rejection> {
        let cost = match &self.cost {
            Cost::Fixed(cost) => *cost,
            Cost::Of(cost) => catch_panic(|| cost(request))?.ok_or(Rejection::Cost)?,
        };
        let limiter = match &self.tier {
            Some(choose) => Some(catch_panic(|| choose(&self.limiter, request))?),
            None => None,
        };
        let charged = self.inspect(request, &keys);
        Ok(CheckArgs { limiter, cost, keys, charged })
    }

    fn check_if_ready(&self, args: &CheckArgs<B, P>) -> Option<Result<LimitDecisions, Error>> {
        let first = self.first(args);
        if self.more.is_empty() {
            let decision = first.check().if_ready()?;
            return Some(decision.map(|decision| self.one(decision, &first)));
        }
        let (limits, policies) = self.limits(first, args);
        limits.check().if_ready().map(|decision| decision.map(|all| several(&all, policies)))
    }

    async fn check(&self, args: &CheckArgs<B, P>) -> Result<LimitDecisions, Error> {
        let first = self.first(args);
        if self.more.is_empty() {
            return first.check().await.map(|decision| self.one(decision, &first));
        }
        let (limits, policies) = self.limits(first, args);
        limits.check().await.map(|all| several(&all, policies))
    }

    fn first<'a>(&'a self, args: &'a CheckArgs<B, P>) -> PreparedCheck<'a, B> {
        args.limiter.as_ref().unwrap_or(&self.limiter).prepare(&args.keys[0], args.cost)
    }

    /// All limits, and the policies by which they decide.
    fn limits<'a>(
        &'a self,
        first: PreparedCheck<'a, B>,
        args: &'a CheckArgs<B, P>,
    ) -> (Limits<'a, B>, Vec<Policy>) {
        let more = self.more.iter().zip(&args.keys[1..]);
        let more = more.map(|(limit, key)| limit.limiter.prepare(key, limit.cost));
        let checks: Vec<_> = std::iter::once(first).chain(more).collect();
        let policies = self.policies(checks.iter().map(PreparedCheck::policy));
        let mut checks = checks.into_iter();
        let first = Limits::from(checks.next().expect("there is a first"));
        (checks.fold(first, Limits::and_prepared), policies)
    }

    /// The policies that decide, unless nobody has to be told.
    fn policies<'a>(&self, policies: impl Iterator<Item = &'a Policy> + Clone) -> Vec<Policy> {
        let is_needed = self.settlement.is_some() || !self.headers.cover(policies.clone());
        if is_needed { policies.cloned().collect() } else { Vec::new() }
    }

    fn one(&self, decision: Decision, check: &PreparedCheck<'_, B>) -> LimitDecisions {
        let policies = self.policies(std::iter::once(check.policy()));
        LimitDecisions { each: SmallVec::from_buf([decision]), bound: 0, policies }
    }

    /// Turns decisions into what they mean for the request.
    fn conclude(
        &self,
        mut args: CheckArgs<B, P>,
        decisions: Result<LimitDecisions, Error>,
        mut request: Parts,
    ) -> Admission {
        let decisions = match decisions {
            Ok(decisions) => decisions,
            Err(error) => return self.reject(&error.into(), &request),
        };
        let headers = self.headers.prepare(&decisions, &args.keys);
        if !decisions.is_allowed() {
            let rejection = Rejection::Deny(*decisions.bound());
            let violated = || self.violated(&decisions);
            let mut response = self.responder.respond(&rejection, violated, Some(&request));
            self.headers.write(response.headers_mut(), &headers);
            return Admission::Reject(response);
        }
        request.extensions.insert(*decisions.bound());
        if let Some(charged) = args.charged.take() {
            charged.leave_in(&mut request.extensions);
        }
        let reservation = self.reservation(args, &decisions);
        Admission::Admit(request, Admitted { headers, reservation })
    }

    fn reservation(
        &self,
        args: CheckArgs<B, P>,
        decisions: &LimitDecisions,
    ) -> Option<Box<dyn Reservation>> {
        let settlement = self.settlement.clone()?;
        let CheckArgs { limiter, cost, mut keys, .. } = args;
        let limiter = limiter.unwrap_or_else(|| self.limiter.clone());
        let policy = decisions.policies.first()?.clone();
        let (key, decision) = (keys.swap_remove(0), decisions.each[0]);
        Some(Box::new(Reserved { settlement, limiter, policy, key, cost, decision }))
    }

    /// Rejects a request that no limit has decided about.
    fn reject(&self, rejection: &Rejection, request: &Parts) -> Admission {
        if matches!(rejection, Rejection::Key(KeyError::NoPeer)) {
            self.diagnostics.warn(&Warning::NoPeer);
        }
        let violated = || vec![self.limiter.name()];
        Admission::Reject(self.responder.respond(rejection, violated, Some(request)))
    }

    /// The names of the limits that denied.
    fn violated(&self, decisions: &LimitDecisions) -> Vec<&str> {
        let each = self.names().zip(&decisions.each);
        each.filter(|(_, decision)| !decision.is_allowed()).map(|(name, _)| name).collect()
    }
}

fn several(all: &LimitsDecision, policies: Vec<Policy>) -> LimitDecisions {
    LimitDecisions { each: all.each().into(), bound: all.bound(), policies }
}

impl<T> MaybeReady<T> {
    fn waiting(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self::Waiting(Box::pin(future))
    }

    async fn get(self) -> T {
        match self {
            Self::Ready(value) => value,
            Self::Waiting(future) => future.await,
        }
    }
}
