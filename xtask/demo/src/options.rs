//! The arguments of the demo, and the store that they name.

use std::sync::Arc;

use anyhow::{Context, Result};
use ratelimit_algorithms::Backend;
use ratelimit_memory::Memory;

/// The port to listen on, and the store to keep limits in.
pub(crate) struct Options {
    pub(crate) port: u16,
    backend: String,
    /// The length of leases, as a share of a limit's window, if they are to be shown.
    pub(crate) lease: Option<f64>,
    /// The file to draw them in, instead.
    pub(crate) svg: Option<String>,
}

impl Options {
    pub(crate) fn parse(arguments: &[String]) -> Result<Self> {
        let arguments = xtask::DEMO.parse_or_exit(arguments);
        let port = arguments.value("--port").unwrap_or("8080").parse();
        let backend = arguments.value("--backend").unwrap_or("memory").to_owned();
        let lease = arguments.share("--lease");
        let svg = arguments.value("--svg").map(str::to_owned);
        Ok(Self { port: port.context("a port has 16 bits")?, backend, lease, svg })
    }

    pub(crate) async fn open(&self) -> Result<Arc<dyn Backend>> {
        match self.backend.as_str() {
            #[cfg(feature = "sqlite")]
            "sqlite" => sqlite(),
            #[cfg(feature = "redis")]
            "redis" => redis().await,
            "memory" => Ok(Arc::new(Memory::new())),
            other => anyhow::bail!("this demo is built without its feature {other}"),
        }
    }
}

#[cfg(feature = "sqlite")]
fn sqlite() -> Result<Arc<dyn Backend>> {
    let file = std::env::var_os("RATELIMIT_SQLITE_FILE").map(Into::into);
    let file = file.unwrap_or_else(|| std::env::temp_dir().join("ratelimit-demo.sqlite"));
    let store = ratelimit_sqlite::Sqlite::open(&file);
    Ok(Arc::new(store.with_context(|| file.display().to_string())?))
}

#[cfg(feature = "redis")]
async fn redis() -> Result<Arc<dyn Backend>> {
    let url = std::env::var("RATELIMIT_REDIS_URL");
    let url = url.unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned());
    let store = ratelimit_redis::Redis::connect(&url).await;
    let missing = "there is no Redis: start one, or set RATELIMIT_REDIS_URL";
    Ok(Arc::new(ratelimit_resilience::Resilient::new(store.context(missing)?)))
}
