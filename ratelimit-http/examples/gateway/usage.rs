//! Counts the tokens of a stream while it passes.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use ratelimit_http::ActualCost;
use serde_json::Value;

/// The tokens used so far. The layer settles the request for them when its stream has ended, or its
/// client has disconnected.
pub(crate) struct Usage {
    cost: ActualCost,
    meter: Meter,
}

impl Usage {
    /// The usage of a prompt with this many tokens, before its answer.
    pub(crate) fn new(cost: ActualCost, prompt: u64) -> Self {
        let usage = Self { cost, meter: Meter { used: prompt, line: Vec::new() } };
        usage.tell(prompt);
        usage
    }

    /// Makes the request cost no tokens: the model has not accepted it.
    pub(crate) fn refund(&self) {
        self.tell(0);
    }

    fn read(&mut self, events: &[u8]) {
        self.meter.read(events);
        self.tell(self.meter.used);
    }

    fn tell(&self, used: u64) {
        for limit in ["tokens", "budget"] {
            self.cost.set(limit, used).expect("the layer has this limit");
        }
    }
}

/// Counts the tokens in server-sent events, which come in pieces of any size.
///
/// An event with a `token` counts as one. An event with a `usage` has the total by the model's own
/// count, the prompt included.
pub(crate) struct Meter {
    pub(crate) used: u64,
    /// The line that has not ended yet.
    pub(crate) line: Vec<u8>,
}

impl Meter {
    pub(crate) fn read(&mut self, piece: &[u8]) {
        for part in piece.split_inclusive(|&byte| byte == b'\n') {
            let room = LINE_BYTES_MAX.saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                self.count_line();
                self.line.clear();
            }
        }
    }

    fn count_line(&mut self) {
        let Some(data) = self.line.strip_prefix(b"data:") else { return };
        // The last event, `[DONE]`, is no JSON.
        let Ok(event) = serde_json::from_slice::<Value>(data) else { return };
        if let Some(total) = event["usage"]["total_tokens"].as_u64() {
            self.used = total;
        } else if event["token"].is_string() {
            self.used = self.used.saturating_add(1);
        }
    }
}

/// Longer than any event; longer lines are not counted.
const LINE_BYTES_MAX: usize = 64 << 10;

/// The body of the model's answer on its way to the client. Dropped, it closes the connection to the
/// model, which then stops.
pub(crate) struct MeteredBody {
    body: Incoming,
    usage: Usage,
}

impl MeteredBody {
    pub(crate) const fn new(body: Incoming, usage: Usage) -> Self {
        Self { body, usage }
    }
}

impl Body for MeteredBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(events) = frame.data_ref()
        {
            self.usage.read(events);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
