//! What looks wrong about a layer, in the light of a request.

use http::{Extensions, request::Parts};
use ratelimit_algorithms::{Backend, Names, Policies};

use crate::{
    AsyncKeyFn, RequestKey, Warning,
    asked::Keys,
    rule::{Cost, Rule},
};

/// In a request's extensions: what it has been charged by, for layers further inside.
#[derive(Clone, Default)]
struct Charged(Vec<Mark>);

/// A limiter, and whom it has charged.
#[derive(Clone)]
struct Mark {
    names: Names,
    limiter: Box<str>,
    key: RequestKey,
}

/// What a layer charges, to be left in the request.
pub(crate) struct Marks(Vec<Mark>);

impl Marks {
    pub(crate) fn leave(self, extensions: &mut Extensions) {
        extensions.get_or_insert_default::<Charged>().0.extend(self.0);
    }
}

impl<B: Backend, K: AsyncKeyFn, P: Policies> Rule<B, K, P> {
    /// Warns of what looks wrong, as far as this request is to be looked at; then there is
    /// something to leave in it.
    pub(crate) fn inspect(&self, request: &Parts, keys: &Keys) -> Option<Marks> {
        if !self.check.is_due() {
            return None;
        }
        let warn = &mut |warning: Warning| self.check.warn(&warning);
        self.key.inspect(request, warn);
        for limit in &self.more {
            limit.key.inspect(request, warn);
        }
        self.inspect_costs(keys, warn);
        let marks = self.marks(keys);
        let Charged(charged) = request.extensions.get().cloned().unwrap_or_default();
        for mark in marks.iter().filter(|mark| charged.iter().any(|charged| charged.is(mark))) {
            warn(Warning::AppliedTwice { limiter: mark.limiter.to_string() });
        }
        Some(Marks(marks))
    }

    fn marks(&self, keys: &Keys) -> Vec<Mark> {
        let names = self.limiter.backend().names();
        let mark = |(limiter, key): (&str, &RequestKey)| Mark {
            names: names.clone(),
            limiter: limiter.into(),
            key: key.clone(),
        };
        self.names().zip(keys.iter()).map(mark).collect()
    }

    /// What a request costs by itself, or in its tier, is not the layer's to mend.
    fn inspect_costs(&self, keys: &Keys, warn: &mut dyn FnMut(Warning)) {
        let mut inspect = |limiter: &str, cost, limit| {
            if limit < cost {
                warn(Warning::UnreachableCost { limiter: limiter.to_owned(), cost, limit });
            }
        };
        if let (Cost::Fixed(cost), None) = (&self.cost, &self.tier) {
            inspect(self.limiter.name(), *cost, self.limiter.policy(&keys.first).limit());
        }
        for (limit, key) in self.more.iter().zip(keys.iter().skip(1)) {
            let question = limit.limiter.question(key, limit.cost);
            inspect(limit.limiter.name(), limit.cost, question.policy().limit());
        }
    }
}

impl Mark {
    fn is(&self, other: &Self) -> bool {
        self.names.is(&other.names) && self.limiter == other.limiter && self.key == other.key
    }
}
