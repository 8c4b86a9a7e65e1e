//! Outgoing requests: they wait for permits, and as long as servers ask them to.

mod advice;
mod arrivals;
mod cooldowns;
mod layer;
mod service;
mod throttle;

pub use self::{
    advice::{Advice, AdvisedLimit},
    layer::OutgoingLayer,
    service::Outgoing,
    throttle::OutgoingError,
};
