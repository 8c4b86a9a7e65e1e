//! The gateway: passes a request through the limits to the model, and the stream back.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
};

use axum::{
    Extension, Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{post, put},
    serve::ListenerExt,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use ratelimit_algorithms::Backend;
use ratelimit_http::ActualCost;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::{
    limits::{Account, Estimate, Limits, Plan},
    usage::{MeteredBody, Usage},
};

/// Accounts by API key; a real gateway has a database. Clones are the same accounts.
#[derive(Clone)]
pub(crate) struct Accounts(Arc<RwLock<HashMap<String, Account>>>);

impl Accounts {
    pub(crate) fn new<K: Into<String>>(accounts: impl IntoIterator<Item = (K, Account)>) -> Self {
        let accounts = accounts.into_iter().map(|(key, account)| (key.into(), account));
        Self(Arc::new(RwLock::new(accounts.collect())))
    }

    fn find(&self, key: &str) -> Option<Account> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    /// Changes the plan of an account; its next request is in the plan's tier.
    fn set_plan(&self, id: u64, plan: Plan) {
        let mut accounts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let accounts = accounts.values_mut().filter(|account| account.id == id);
        accounts.for_each(|account| account.plan = plan);
    }
}

/// A gateway in front of one model.
#[derive(Clone)]
pub(crate) struct Gateway {
    accounts: Accounts,
    client: Client<HttpConnector, Body>,
    model: SocketAddr,
}

impl Gateway {
    pub(crate) fn new(accounts: Accounts, model: SocketAddr) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { accounts, client, model }
    }

    /// Serves until `stop`, and then until all streams have ended and are settled.
    pub(crate) async fn serve<B: Backend + Clone + 'static>(
        &self,
        limits: &Limits<B>,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let layer = limits.layer();
        // The last layer is the outermost: bodies are read only of clients with an account.
        let app = Router::new()
            .route("/v1/completions", post(complete))
            .layer(layer.clone())
            .layer(middleware::from_fn(read_prompt))
            .route("/v1/plan", put(change_plan))
            .layer(middleware::from_fn_with_state(self.clone(), authenticate))
            .with_state(self.clone());
        // Tokens are sent on at once.
        let listener = listener.tap_io(|connection| _ = connection.set_nodelay(true));
        axum::serve(listener, app).with_graceful_shutdown(stop).await?;
        layer.settled().await;
        Ok(())
    }
}

/// Finds the account of a request, for the keys and tiers of the limits.
async fn authenticate(
    State(gateway): State<Gateway>,
    mut request: Request,
    next: Next,
) -> Response {
    let key = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let account = key.and_then(|key| gateway.accounts.find(key.strip_prefix("Bearer ")?));
    let Some(account) = account else { return StatusCode::UNAUTHORIZED.into_response() };
    request.extensions_mut().insert(account);
    next.run(request).await
}

/// A request for a completion, as it is sent to the model.
#[derive(Clone)]
struct Prompt {
    body: Bytes,
    tokens: u64,
}

/// Reads the body, and puts the estimate into the extensions for the layer.
async fn read_prompt(mut request: Request, next: Next) -> Response {
    let body = std::mem::replace(request.body_mut(), Body::empty());
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let Some((prompt, estimate)) = parse(body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    request.extensions_mut().insert(estimate);
    request.extensions_mut().insert(prompt);
    next.run(request).await
}

/// More than most prompts.
const BODY_BYTES_MAX: usize = 1 << 20;

/// A word is a token here; a real gateway uses the tokenizer of its model.
fn parse(body: Bytes) -> Option<(Prompt, Estimate)> {
    let request: Value = serde_json::from_slice(&body).ok()?;
    let tokens = u64::try_from(request["prompt"].as_str()?.split_whitespace().count()).ok()?;
    let answer = request["max_tokens"].as_u64()?;
    Some((Prompt { body, tokens }, Estimate(tokens.saturating_add(answer))))
}

/// Passes the prompt on to the model, and the model's stream back, counting what it uses.
async fn complete(
    State(Gateway { client, model, .. }): State<Gateway>,
    Extension(cost): Extension<ActualCost>,
    Extension(prompt): Extension<Prompt>,
) -> Result<Response, StatusCode> {
    // From here on the model may have read the prompt, even if the client leaves.
    let usage = Usage::new(cost, prompt.tokens);
    let request = Request::post(format!("http://{model}/"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(prompt.body))
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    match client.request(request).await {
        Ok(answer) if answer.status().is_success() => {
            let body = Body::new(MeteredBody::new(answer.into_body(), usage));
            Ok(([(header::CONTENT_TYPE, "text/event-stream")], body).into_response())
        }
        _ => {
            usage.refund();
            Err(StatusCode::BAD_GATEWAY)
        }
    }
}

/// Changes the plan of the request's account.
async fn change_plan(
    State(gateway): State<Gateway>,
    Extension(account): Extension<Account>,
    plan: String,
) -> StatusCode {
    let plan = match plan.as_str() {
        "free" => Plan::Free,
        "pro" => Plan::Pro,
        _ => return StatusCode::BAD_REQUEST,
    };
    gateway.accounts.set_plan(account.id, plan);
    StatusCode::NO_CONTENT
}
