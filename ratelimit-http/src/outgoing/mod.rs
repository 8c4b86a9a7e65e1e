//! For a client: its requests wait for their turn, and as long as servers ask them to.

mod advice;
mod cooldowns;
mod error;
mod layer;
mod service;
mod turns;

pub use self::{
    advice::{Advice, AdvisedLimit},
    error::OutgoingError,
    layer::OutgoingLayer,
    service::Outgoing,
};
