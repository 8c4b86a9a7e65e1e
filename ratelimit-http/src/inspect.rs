//! What looks wrong about a layer, in the light of a request.

use http::{Extensions, request::Parts};
use ratelimit_algorithms::{Backend, Names, Policies};

use crate::{
    AsyncKeyFn, RequestKey, Warning,
    rule::{Cost, Rule},
};

/// In a request's extensions: what it has been charged by, for layers further inside.
#[derive(Clone, Default)]
struct Charged(Vec<Mark>);

/// One limiter and key.
#[derive(Clone)]
pub(crate) struct Mark {
    names: Names,
    limiter: Box<str>,
    key: RequestKey,
}

impl Mark {
    /// Leaves it in a request.
    pub(crate) fn leave(self, extensions: &mut Extensions) {
        extensions.get_or_insert_default::<Charged>().0.push(self);
    }
}

impl<B: Backend, K: AsyncKeyFn, P: Policies> Rule<B, K, P> {
    /// Warns of what looks wrong, as far as this request is to be looked at; then there is a mark
    /// to leave in it.
    pub(crate) fn inspect(&self, request: &Parts, key: &RequestKey) -> Option<Mark> {
        if !self.check.is_due() {
            return None;
        }
        let warn = &mut |warning: Warning| self.check.warn(&warning);
        self.key.inspect(request, warn);
        for limit in &self.more {
            limit.key.inspect(request, warn);
        }
        self.inspect_cost(key, warn);
        let names = self.limiter.backend().names();
        let is_same = |mark: &Mark| {
            mark.names.is(names) && *mark.limiter == *self.limiter.name() && mark.key == *key
        };
        if request.extensions.get().is_some_and(|Charged(marks)| marks.iter().any(is_same)) {
            warn(Warning::AppliedTwice { limiter: self.limiter.name().to_owned() });
        }
        let limiter = self.limiter.name().into();
        Some(Mark { names: names.clone(), limiter, key: key.clone() })
    }

    /// Of requests in a tier the tier decides, and of costs that differ the request.
    fn inspect_cost(&self, key: &RequestKey, warn: &mut dyn FnMut(Warning)) {
        let limit = self.limiter.policy(key).limit();
        match self.cost {
            Cost::Fixed(cost) if self.tier.is_none() && limit < cost => {
                let limiter = self.limiter.name().to_owned();
                warn(Warning::UnreachableCost { limiter, cost, limit });
            }
            _ => {}
        }
    }
}
