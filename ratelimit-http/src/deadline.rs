//! Deadlines of futures, by any timer.

use std::{
    future::{Future, pending, poll_fn},
    pin::pin,
    task::Poll,
    time::Instant,
};

use ratelimit_algorithms::Timer;

/// Returns the output of `future`, or `None` if the deadline comes first.
pub(crate) async fn before<F: Future>(
    deadline: Option<Instant>,
    timer: &impl Timer,
    future: F,
) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut end = pin!(async {
        match deadline {
            Some(deadline) => timer.sleep_until(deadline).await,
            None => pending().await,
        }
    });
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => end.as_mut().poll(context).map(|()| None),
    })
    .await
}
