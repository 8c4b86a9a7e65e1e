//! Reads the values, applies the core's step, and swaps in what it leaves if nothing has changed.
//!
//! This is for cases that are too rare for a script to restate them: states under other numbers, of
//! other versions or algorithms, with a block around them, or that are none at all; and resets,
//! blocks, penalties and refunds by receipt. Checks that find other numbers share a swap
//! ([`shared_swap`]).
//!
//! A script is always faster than a read and a swap, so beside many spenders no swap would ever
//! find what was read. A caller that has lost once therefore *reserves* the values when it reads
//! them: until its swap, or for a second if it is never heard of again, other clients wait.
//! Callers of one runtime take turns, in the order in which they come.

use ratelimit_backend::{BackendError, ErrorKind};
use ratelimit_core::{Action, Batch, store::Decisions};
use tokio::time::Instant;

use crate::{
    eval::{self, Evaluated},
    request::Request,
    shared_swap,
    swap::{Attempt, Mode, attempt, pause},
    wait_queue::Turn,
};

/// Decides until a script or a swap succeeds, or the deadline has passed.
pub(crate) async fn run(
    request: &Request,
    batch: Batch<'_>,
    action: Action,
    mut evaluated: Evaluated,
) -> Result<Decisions, BackendError> {
    let is_scripted = eval::is_scripted(batch, action);
    let mut turn = None;
    while Instant::now() < request.deadline {
        match evaluated {
            Evaluated::Decided(decisions) => return Ok(decisions),
            Evaluated::Reserved => pause().await,
            Evaluated::Changed(seen) if shared_swap::is_for(action) => {
                let shared = shared_swap::decide(request, batch, action, seen).await?;
                if let Some(decisions) = shared {
                    return Ok(decisions);
                }
            }
            Evaluated::NotOwn | Evaluated::Outside(_) | Evaluated::Changed(_) => {
                let mode = match turn {
                    Some(_) => Mode::Reserve,
                    None if is_scripted => Mode::Look,
                    None => Mode::Swap,
                };
                let attempted = attempt(request, batch, action, mode).await?;
                if let Attempt::Decided(mut decisions, _) = attempted
                    && let Some(decisions) = decisions.pop()
                {
                    return Ok(decisions);
                }
                turn = match turn {
                    None => next_turn(request, is_scripted).await?,
                    Some(turn) => {
                        pause().await;
                        Some(turn)
                    }
                };
            }
        }
        // Another caller may have changed the values to this policy's own numbers.
        evaluated = eval::run(request, batch, action).await?;
    }
    Err(BackendError::not_applied(ErrorKind::Timeout).with_source(Contended))
}

/// Waits for a turn. Where a script may do it by then, because the caller before has changed the
/// numbers, there is none.
async fn next_turn(request: &Request, is_scripted: bool) -> Result<Option<Turn>, BackendError> {
    let (turn, has_waited) = request.turn().await?;
    Ok((!is_scripted || !has_waited).then_some(turn))
}

/// Every attempt failed until the deadline.
#[derive(Debug, thiserror::Error)]
#[error("others were faster until the deadline")]
struct Contended;
