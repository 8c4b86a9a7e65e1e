//! A gateway for a language model: requests, tokens and requests in flight of an API key, and the tokens
//! of its team, decided as one and settled for what each stream has used.
//!
//! `cargo run -p ratelimit-http --features axum --example gateway [ADDRESS]`
//!
//! ```sh
//! curl -iN http://ADDRESS/v1/completions -H 'authorization: Bearer key-of-ann' \
//!     -d '{"prompt": "these are five small words", "max_tokens": 100}'
//! curl -X PUT http://ADDRESS/v1/plan -H 'authorization: Bearer key-of-ann' -d pro
//! ```

mod limits;
mod model;
mod service;
mod usage;

use ratelimit_memory::Memory;
use tokio::net::TcpListener;

use crate::{
    limits::{Account, Limits, Plan, Quotas},
    service::{Accounts, Gateway},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let accounts = Accounts::new([
        ("key-of-ann", Account { id: 1, team: 1, plan: Plan::Free }),
        ("key-of-bob", Account { id: 2, team: 1, plan: Plan::Pro }),
    ]);
    let limits = Limits::new(&Memory::new(), Quotas::of_plans()?)?;

    let model = TcpListener::bind("127.0.0.1:0").await?;
    let gateway = Gateway::new(accounts, model.local_addr()?);
    tokio::spawn(model::serve(model));

    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let stop = async { _ = tokio::signal::ctrl_c().await };
    Ok(gateway.serve(&limits, listener, stop).await?)
}
