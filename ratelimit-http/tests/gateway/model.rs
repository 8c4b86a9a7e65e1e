//! A model whose streams stay open until a test lets them go on, and that keeps a record of them.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use axum::{Router, body::Body, extract::State, routing::post, serve::ListenerExt};
use bytes::Bytes;
use http_body::Frame;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{
        mpsc::{self, Receiver, Sender},
        watch,
    },
};

pub(crate) struct Model {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    holds: bool,
    seen: Mutex<Seen>,
    /// The number of streams that are open.
    open: watch::Sender<u64>,
    /// The number of times that streams were let go on.
    released: watch::Sender<u64>,
}

/// A record of all streams; those of a key are under the number that its requests name.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    pub(crate) streams: u64,
    /// Streams that their clients are to leave.
    pub(crate) left: u64,
    /// Tokens, of prompts and of answers as far as they are sent.
    pub(crate) used: HashMap<u64, u64>,
    open: HashMap<u64, u64>,
    pub(crate) most_open: HashMap<u64, u64>,
}

impl Model {
    /// A model whose streams wait after their first token, if `holds`.
    pub(crate) async fn start(holds: bool) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let listener = listener.tap_io(|connection| _ = connection.set_nodelay(true));
        let (open, released) = (watch::Sender::new(0), watch::Sender::new(0));
        let shared = Arc::new(Shared { holds, seen: Mutex::default(), open, released });
        let app = Router::new().route("/", post(complete)).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self { address, shared })
    }

    /// Lets the streams go on that are open.
    pub(crate) fn go_on(&self) {
        self.shared.released.send_modify(|released| *released += 1);
    }

    /// Waits until no stream is open.
    pub(crate) async fn none_is_open(&self) {
        let mut open = self.shared.open.subscribe();
        open.wait_for(|open| *open == 0).await.expect("the sender is here");
    }

    pub(crate) fn seen(&self) -> Seen {
        self.shared.seen().clone()
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of a stream.
#[derive(Clone, Copy)]
enum Course {
    /// So many tokens, and then word of this usage.
    Whole { tokens: u64, usage: u64 },
    /// So many tokens, and then silence until the client leaves.
    Left { tokens: u64 },
}

impl Course {
    /// The course of a stream: of the usage of every seventh the gateway is told more than it was
    /// asked for.
    fn of(stream: u64, prompt: u64, most: u64) -> Self {
        let tokens = 2 + stream % 31;
        match stream % 10 {
            9 => Self::Left { tokens: 1 + stream % 4 },
            _ if stream.is_multiple_of(7) => Self::Whole { tokens, usage: prompt + most + tokens },
            _ => Self::Whole { tokens, usage: prompt + tokens },
        }
    }
}

async fn complete(State(shared): State<Arc<Shared>>, request: String) -> Body {
    let request: Value = serde_json::from_str(&request).expect("the gateway has read it");
    let number = |name: &str| request[name].as_u64().expect("the test has set it");
    let (key, most) = (number("user"), number("max_tokens"));
    let prompt = request["prompt"].as_str().map_or(0, |prompt| prompt.split(' ').count()) as u64;

    let mut seen = shared.seen();
    let course = Course::of(seen.streams, prompt, most);
    seen.streams += 1;
    let used = match course {
        Course::Whole { usage, .. } => usage,
        Course::Left { tokens } => prompt + tokens,
    };
    seen.left += u64::from(matches!(course, Course::Left { .. }));
    *seen.used.entry(key).or_default() += used;
    let open = seen.open.entry(key).or_default();
    *open += 1;
    let open = *open;
    let most_open = seen.most_open.entry(key).or_default();
    *most_open = open.max(*most_open);
    drop(seen);
    shared.open.send_modify(|open| *open += 1);

    let (events, received) = mpsc::channel(1);
    let released = shared.holds.then(|| shared.released.subscribe());
    tokio::spawn(generate(course, events, released));
    Body::new(Events { received, key, shared })
}

/// Sends the first token, and the others when the stream may go on.
async fn generate(
    course: Course,
    events: Sender<String>,
    mut released: Option<watch::Receiver<u64>>,
) -> Option<()> {
    let (Course::Whole { tokens, .. } | Course::Left { tokens }) = course;
    let leave_after = matches!(course, Course::Left { .. }).then_some(tokens);
    for token in 0..tokens {
        let event = json!({ "token": format!("w{token}"), "leave_after": leave_after });
        events.send(format!("data: {event}\n\n")).await.ok()?;
        if let Some(mut released) = released.take() {
            released.changed().await.ok()?;
        }
    }
    match course {
        Course::Whole { usage, .. } => {
            let usage = json!({ "usage": { "total_tokens": usage } });
            events.send(format!("data: {usage}\n\ndata: [DONE]\n\n")).await.ok()
        }
        Course::Left { .. } => {
            events.closed().await;
            None
        }
    }
}

/// The stream's body, which counts as open until it is dropped.
struct Events {
    received: Receiver<String>,
    key: u64,
    shared: Arc<Shared>,
}

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let event = self.received.poll_recv(context);
        event.map(|event| event.map(|event| Ok(Frame::data(event.into()))))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        if let Some(open) = self.shared.seen().open.get_mut(&self.key) {
            *open -= 1;
        }
        self.shared.open.send_modify(|open| *open -= 1);
    }
}
