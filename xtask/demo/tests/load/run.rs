//! Requests, the service that they are for, and what came of them.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
    routing::get,
};
use ratelimit_algorithms::{Backend, Limiter};
use ratelimit_http::{ApiKey, RateLimitLayer};
use tokio::time::{Instant, sleep};
use tower::ServiceExt;

/// So many requests for one service or more, each asked once.
pub(crate) struct Run {
    app: Router,
    requests: usize,
    begun: AtomicUsize,
    answers: Mutex<Vec<StatusCode>>,
    /// Set when there need be no more than those.
    ends: AtomicBool,
    /// Odd from the server's end until it serves again.
    turns: AtomicUsize,
    wrong: AtomicUsize,
}

impl Run {
    pub(crate) fn new(app: Router, requests: usize) -> Self {
        let [begun, turns, wrong] = [(); 3].map(|()| AtomicUsize::new(0));
        let (answers, ends) = (Mutex::default(), AtomicBool::new(false));
        Self { app, requests, begun, answers, ends, turns, wrong }
    }

    /// Asks, until all is asked. How long a server takes to come back is its own affair, so that
    /// may be more requests than were wanted.
    pub(crate) async fn work(self: Arc<Self>) {
        while self.begun.load(SeqCst) < self.requests || !self.ends.load(SeqCst) {
            let fingerprint = self.begun.fetch_add(1, SeqCst);
            let before = self.turns.load(SeqCst);
            let status = self.app.clone().oneshot(request(fingerprint)).await.unwrap().status();
            self.answer(fingerprint, status);
            let was_up = before.is_multiple_of(2) && before == self.turns.load(SeqCst);
            self.wrong.fetch_add(usize::from(was_up && status != StatusCode::OK), SeqCst);
            sleep(PAUSE).await;
        }
    }

    fn answer(&self, fingerprint: usize, status: StatusCode) {
        let mut answers = self.answers.lock().unwrap();
        let asked = answers.len().max(fingerprint + 1);
        answers.resize(asked, StatusCode::CONTINUE);
        answers[fingerprint] = status;
    }

    /// There will be no more outages.
    pub(crate) fn ends(&self) {
        self.ends.store(true, SeqCst);
    }

    /// Waits until so many of a hundred requests have begun.
    pub(crate) async fn reaches(&self, percent: usize) {
        while self.begun.load(SeqCst) < self.requests * percent / 100 {
            sleep(PAUSE).await;
        }
    }

    /// The server is about to go, or has come back.
    pub(crate) fn turns(&self) {
        self.turns.fetch_add(1, SeqCst);
    }

    /// Waits until one more is admitted, for ten seconds at most.
    pub(crate) async fn serves(&self) {
        let (before, begun) = (self.admitted(), Instant::now());
        while self.admitted() == before && begun.elapsed() < Duration::from_secs(10) {
            sleep(PAUSE).await;
        }
    }

    /// The requests that were refused although the server was there all the time.
    pub(crate) fn wrong(&self) -> usize {
        self.wrong.load(SeqCst)
    }

    pub(crate) fn answers(&self) -> Vec<StatusCode> {
        self.answers.lock().unwrap().clone()
    }

    fn admitted(&self) -> usize {
        self.answers.lock().unwrap().iter().filter(|&&status| status == StatusCode::OK).count()
    }
}

/// As the demo has it.
pub(crate) fn app<B: Backend + Clone + 'static>(limiter: Limiter<B>) -> Router {
    let layer = RateLimitLayer::new(limiter, client());
    Router::new().route("/", get(async || "hello").layer(layer))
}

pub(crate) fn client() -> ApiKey {
    ApiKey::header("x-api-key").pepper("the pepper of the load")
}

pub(crate) fn request(fingerprint: usize) -> Request<Body> {
    Request::get("/").header("x-api-key", fingerprint).body(Body::empty()).unwrap()
}

/// Long enough that outages do not use up all requests at once.
const PAUSE: Duration = Duration::from_millis(4);
