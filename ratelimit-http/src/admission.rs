//! Admission: from a request to its keys and its cost, and to the decision of its limits.
//!
//! [`Pipeline::admit`] goes as far as it can at once. Only if a key or the store has to be awaited,
//! the rest of the way becomes a future in a box.

use std::{future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;
use http::{Response, request::Parts};
use ratelimit_algorithms::{
    AcquireError, Backend, BackendError, Decision, Error, ErrorKind, Limiter, Limits,
    LimitsDecision, Permits, Policies, Policy, PreparedCheck,
};
use smallvec::SmallVec;

use crate::{
    ActualCost, AsyncKeyFn, KeyError, Rejection, RequestKey, Warning,
    diagnostics::Charged,
    headers::{LimitDecisions, PreparedHeaders},
    key::{find, find_now},
    limit::{AnyLimiter, LimitKey},
    pipeline::Pipeline,
    response::catch_panic,
    settle::{Reservation, Reserved, ReservedPart},
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

/// The keys of a request, in the order of its limits: the first limit has one, and each other unless it
/// lets the request pass without.
type Keys = SmallVec<[LimitKey; 1]>;

/// The keys that have been found so far.
#[derive(Default)]
struct FoundKeys {
    keys: Keys,
    /// The limit whose key is next.
    next: usize,
}

/// The arguments of a request's checks.
struct CheckArgs<B, P> {
    /// Stands in for the first limiter.
    limiter: Option<Limiter<B, P>>,
    cost: u64,
    /// The limiter and the cost for each key but the first.
    more: Vec<(Arc<dyn AnyLimiter<B>>, u64)>,
    keys: Keys,
    /// Left in the request if it is admitted.
    charged: Option<Charged>,
}

/// The decisions about a request, and its permits if they may have to be settled.
struct Checked<B: 'static> {
    decisions: LimitDecisions,
    permits: Option<Permits<'static, B>>,
    /// For each check, true if its permits are held while the request is served.
    held: Held,
}

type Held = SmallVec<[bool; 4]>;

/// The checks of a request as one, when there are several, or a charge that may have to be settled.
struct Together<'a, B> {
    limits: Limits<'a, B>,
    policies: Vec<Policy>,
    held: Held,
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
        let mut found = FoundKeys::default();
        match self.find_ready(&request, &mut found) {
            Some(outcome) => self.decide(outcome.map(|()| found.keys), request),
            None => {
                let this = Arc::clone(self);
                MaybeReady::waiting(async move {
                    let outcome = this.find(&request, &mut found).await;
                    this.decide(outcome.map(|()| found.keys), request).get().await
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
    fn find_ready(&self, request: &Parts, found: &mut FoundKeys) -> Option<Result<(), KeyError>> {
        while found.next <= self.more.len() {
            let key = find_now(self.key_fn(found.next), request)?;
            if let Err(error) = self.add(key, found) {
                return Some(Err(error));
            }
        }
        Some(Ok(()))
    }

    async fn find(&self, request: &Parts, found: &mut FoundKeys) -> Result<(), KeyError> {
        loop {
            match self.find_ready(request, found) {
                Some(outcome) => return outcome,
                None => self.add(find(self.key_fn(found.next), request).await, found)?,
            }
        }
    }

    /// Adds the key of the next limit, unless that lets the request pass without one.
    fn add(
        &self,
        key: Result<RequestKey, KeyError>,
        found: &mut FoundKeys,
    ) -> Result<(), KeyError> {
        let limit = found.next;
        match key {
            Ok(key) => found.keys.push(LimitKey { limit, key }),
            Err(KeyError::Missing) if self.is_optional(limit) => {}
            Err(error) => return Err(error),
        }
        found.next += 1;
        Ok(())
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
        let cost = catch_panic(|| self.cost.of(request))?.ok_or(Rejection::Cost)?;
        let limiter = match &self.tier {
            Some(choose) => Some(catch_panic(|| choose(&self.limiter, request))?),
            None => None,
        };
        let more = keys[1..].iter().map(|key| {
            let limit = &self.more[key.limit - 1];
            let (limiter, cost) =
                catch_panic(|| (limit.limiter_of(request), limit.cost.of(request)))?;
            Ok((limiter, cost.ok_or(Rejection::Cost)?))
        });
        let more = more.collect::<Result<_, Rejection>>()?;
        let charged = self.inspect(request, &keys);
        Ok(CheckArgs { limiter, cost, more, keys, charged })
    }

    fn check_if_ready(&self, args: &CheckArgs<B, P>) -> Option<Result<Checked<B>, Error>> {
        let first = self.first(args);
        let reserves = self.reserves();
        if args.more.is_empty() && !reserves && !is_held(&first) {
            let decision = first.check().if_ready()?;
            return Some(decision.map(|decision| self.one(decision, &first)));
        }
        let Together { limits, policies, held } = self.together(first, args);
        if reserves || held.contains(&true) {
            return limits.acquire().if_ready().map(|permits| reserved(permits, policies, held));
        }
        limits.check().if_ready().map(|decision| decision.map(|all| checked(&all, policies)))
    }

    async fn check(&self, args: &CheckArgs<B, P>) -> Result<Checked<B>, Error> {
        let first = self.first(args);
        let reserves = self.reserves();
        if args.more.is_empty() && !reserves && !is_held(&first) {
            return first.check().await.map(|decision| self.one(decision, &first));
        }
        let Together { limits, policies, held } = self.together(first, args);
        if reserves || held.contains(&true) {
            return reserved(limits.acquire().await, policies, held);
        }
        limits.check().await.map(|all| checked(&all, policies))
    }

    fn first<'a>(&'a self, args: &'a CheckArgs<B, P>) -> PreparedCheck<'a, B> {
        args.limiter.as_ref().unwrap_or(&self.limiter).prepare(&args.keys[0].key, args.cost)
    }

    fn together<'a>(
        &'a self,
        first: PreparedCheck<'a, B>,
        args: &'a CheckArgs<B, P>,
    ) -> Together<'a, B> {
        let more = args.more.iter().zip(&args.keys[1..]);
        let more = more.map(|((limiter, cost), key)| limiter.prepare(&key.key, *cost));
        let checks: Vec<_> = std::iter::once(first).chain(more).collect();
        let policies = self.policies(&args.keys, checks.iter().map(PreparedCheck::policy));
        let held = checks.iter().map(is_held).collect();
        let mut checks = checks.into_iter();
        let first = Limits::from(checks.next().expect("there is a first"));
        Together { limits: checks.fold(first, Limits::and_prepared), policies, held }
    }

    /// The policies that decide, unless nobody has to be told.
    fn policies<'a>(
        &self,
        keys: &[LimitKey],
        policies: impl Iterator<Item = &'a Policy> + Clone,
    ) -> Vec<Policy> {
        let mut each = keys.iter().zip(policies.clone());
        if each.all(|(key, policy)| self.headers.cover(key.limit, policy)) {
            return Vec::new();
        }
        policies.cloned().collect()
    }

    fn one(&self, decision: Decision, check: &PreparedCheck<'_, B>) -> Checked<B> {
        let is_covered = self.headers.cover(0, check.policy());
        let policies = if is_covered { Vec::new() } else { vec![check.policy().clone()] };
        let each = SmallVec::from_buf([decision]);
        let decisions = LimitDecisions { each, bound: 0, policies };
        Checked { decisions, permits: None, held: Held::new() }
    }

    /// Turns decisions into what they mean for the request.
    fn conclude(
        self: &Arc<Self>,
        mut args: CheckArgs<B, P>,
        checked: Result<Checked<B>, Error>,
        mut request: Parts,
    ) -> Admission {
        let Checked { decisions, permits, held } = match checked {
            Ok(checked) => checked,
            Err(error) => return self.reject(&error.into(), &request),
        };
        let headers = self.headers.prepare(&decisions, &args.keys);
        if !decisions.is_allowed() {
            let rejection = Rejection::Deny(*decisions.bound());
            let violated = || self.violated(&args.keys, &decisions);
            let mut response = self.responder.respond(&rejection, violated, Some(&request));
            self.headers.write(response.headers_mut(), &headers);
            return Admission::Reject(response);
        }
        request.extensions.insert(*decisions.bound());
        if let Some(charged) = args.charged.take() {
            charged.leave_in(&mut request.extensions);
        }
        let reservation = permits.map(|permits| {
            let limits = self.settling.is_at_end.then(|| Arc::clone(self));
            let actual = limits.map(|limits| ActualCost::new(limits));
            if let Some(actual) = &actual {
                actual.leave_in(&mut request.extensions);
            }
            self.reservation(&args, permits, (held, actual))
        });
        Admission::Admit(request, Admitted { headers, reservation })
    }

    fn reservation(
        &self,
        args: &CheckArgs<B, P>,
        permits: Permits<'static, B>,
        (held, actual): (Held, Option<ActualCost>),
    ) -> Box<dyn Reservation> {
        let costs = std::iter::once(args.cost).chain(args.more.iter().map(|(_, cost)| *cost));
        let part = |((key, charged), is_held): ((&LimitKey, u64), bool)| ReservedPart {
            limit: key.limit,
            charged,
            is_held,
            response_cost: self.response_cost(key.limit).cloned(),
            told: None,
        };
        Box::new(Reserved {
            permits: Some(permits),
            parts: args.keys.iter().zip(costs).zip(held).map(part).collect(),
            actual,
            refunds: self.settling.refunds_unanswered,
            outstanding: Arc::clone(&self.outstanding),
        })
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
    fn violated(&self, keys: &[LimitKey], decisions: &LimitDecisions) -> Vec<&str> {
        let each = keys.iter().zip(&decisions.each);
        let violated = each.filter(|(_, decision)| !decision.is_allowed());
        violated.map(|(key, _)| self.name(key.limit)).collect()
    }
}

fn checked<B: 'static>(all: &LimitsDecision, policies: Vec<Policy>) -> Checked<B> {
    let decisions = LimitDecisions { each: all.each().into(), bound: all.bound(), policies };
    Checked { decisions, permits: None, held: Held::new() }
}

/// Returns true if the permits of a check are held until they are given back.
fn is_held<B: Backend>(check: &PreparedCheck<'_, B>) -> bool {
    check.policy().algorithm().holds_permits()
}

/// The decisions of a request whose charge is to be settled, with its permits if it is admitted.
fn reserved<B: Backend + Clone + 'static>(
    permits: Result<Permits<'_, B>, AcquireError>,
    policies: Vec<Policy>,
    held: Held,
) -> Result<Checked<B>, Error> {
    match permits {
        Ok(permits) => {
            let checked = checked(permits.decision(), policies);
            Ok(Checked { permits: Some(permits.into_owned()), held, ..checked })
        }
        Err(AcquireError::DeniedTogether(all)) => Ok(checked(&all, policies)),
        Err(AcquireError::Failed(error)) => Err(error),
        Err(_) => Err(BackendError::unknown(ErrorKind::Protocol).into()),
    }
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
