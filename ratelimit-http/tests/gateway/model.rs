//! A model whose streams stay open until a test lets them go on, and that keeps a record of them.
//!
//! It is a process of its own: a process may open only so many sockets.

use std::{
    collections::HashMap,
    convert::Infallible,
    io::{self, BufRead, BufReader, Read},
    net::SocketAddr,
    pin::Pin,
    process::{self, Child, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    thread,
};

use axum::{
    Router,
    body::Body,
    extract::State,
    routing::{get, post},
    serve::ListenerExt,
};
use bytes::Bytes;
use http_body::Frame;
use ratelimit_conformance::subprocess;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{
        mpsc::{self, Receiver, Sender},
        watch,
    },
};

use crate::client::send;

/// A running model, which ends with its handle.
pub(crate) struct Model {
    pub(crate) address: SocketAddr,
    process: Child,
}

/// A record of all streams; those of a key are under the number that its requests name.
#[derive(Default)]
pub(crate) struct Record {
    pub(crate) streams: u64,
    /// Streams that their clients are to leave.
    pub(crate) left: u64,
    /// Streams that are open.
    pub(crate) open: HashMap<u64, u64>,
    pub(crate) most_open: HashMap<u64, u64>,
    /// Tokens, of prompts and of answers as far as they are sent.
    pub(crate) used: HashMap<u64, u64>,
}

impl Model {
    /// Starts a model whose streams wait after their first token.
    pub(crate) fn start_holding() -> io::Result<Self> {
        Self::start(HOLDING)
    }

    /// Starts a model whose streams do not wait.
    pub(crate) fn start_flowing() -> io::Result<Self> {
        Self::start("flowing")
    }

    /// Runs the test that serves a model.
    fn start(kind: &str) -> io::Result<Self> {
        let mut command = subprocess("gateway", "a_model_records_the_tokens_that_it_sends");
        command.env(KIND, kind).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        // Its end stays open: the test program says later that this takes long.
        let output = BufReader::new(process.stdout.as_mut().expect("it is piped"));
        let mut lines = output.lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix(LISTENING)?.parse().ok());
        Ok(Self { address: address.ok_or(io::ErrorKind::UnexpectedEof)?, process })
    }

    /// Lets the streams go on that are open.
    pub(crate) async fn go_on(&self) -> io::Result<()> {
        self.call("POST /go-on").await.map(drop)
    }

    /// Waits until no stream is open.
    pub(crate) async fn none_is_open(&self) -> io::Result<()> {
        self.call("GET /none-is-open").await.map(drop)
    }

    pub(crate) async fn record(&self) -> io::Result<Record> {
        let (streams, left, open, most_open, used) =
            serde_json::from_str(&self.call("GET /record").await?)?;
        Ok(Record { streams, left, open, most_open, used })
    }

    async fn call(&self, line: &str) -> io::Result<String> {
        let response = send(self.address, line, "", "").await?;
        let (_, body) = response.split_once("\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
        Ok(body.to_owned())
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// The kind of the model that this process is to be, in its environment.
pub(crate) const KIND: &str = "RATELIMIT_MODEL";
/// Streams wait after their first token.
const HOLDING: &str = "holding";
/// A model's address follows, in its output.
const LISTENING: &str = "listening on ";

struct Shared {
    holds: bool,
    record: Mutex<Record>,
    /// The number of streams that are open.
    open: watch::Sender<u64>,
    /// The number of times that streams were let go on.
    released: watch::Sender<u64>,
}

/// Serves a model until the process is killed, or the one that started it has ended.
pub(crate) async fn serve(kind: &str) -> io::Result<()> {
    thread::spawn(|| {
        _ = io::stdin().read_to_end(&mut Vec::new());
        process::exit(0)
    });
    let (open, released) = (watch::Sender::new(0), watch::Sender::new(0));
    let holds = kind == HOLDING;
    let shared = Arc::new(Shared { holds, record: Mutex::default(), open, released });
    let app = Router::new()
        .route("/", post(complete))
        .route("/go-on", post(go_on))
        .route("/none-is-open", get(none_is_open))
        .route("/record", get(record))
        .with_state(shared);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{LISTENING}{}", listener.local_addr()?);
    let listener = listener.tap_io(|connection| _ = connection.set_nodelay(true));
    axum::serve(listener, app).await
}

async fn go_on(State(shared): State<Arc<Shared>>) {
    shared.released.send_modify(|released| *released += 1);
}

async fn none_is_open(State(shared): State<Arc<Shared>>) {
    let mut open = shared.open.subscribe();
    open.wait_for(|open| *open == 0).await.expect("the sender is here");
}

async fn record(State(shared): State<Arc<Shared>>) -> String {
    let Record { streams, left, open, most_open, used } = &*shared.record();
    json!([streams, left, open, most_open, used]).to_string()
}

impl Shared {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
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

    let mut record = shared.record();
    let course = Course::of(record.streams, prompt, most);
    record.streams += 1;
    let used = match course {
        Course::Whole { usage, .. } => usage,
        Course::Left { tokens } => prompt + tokens,
    };
    record.left += u64::from(matches!(course, Course::Left { .. }));
    *record.used.entry(key).or_default() += used;
    let open = record.open.entry(key).or_default();
    *open += 1;
    let open = *open;
    let most_open = record.most_open.entry(key).or_default();
    *most_open = open.max(*most_open);
    drop(record);
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
        if let Some(open) = self.shared.record().open.get_mut(&self.key) {
            *open -= 1;
        }
        self.shared.open.send_modify(|open| *open -= 1);
    }
}
