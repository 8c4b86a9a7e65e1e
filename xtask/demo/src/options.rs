//! What the command line asks for.

use std::{env, sync::Arc};

use anyhow::{Context, Result, bail};
use ratelimit_algorithms::Backend;
use ratelimit_memory::Memory;
use ratelimit_redis::Redis;
use ratelimit_resilience::Resilient;
use ratelimit_sqlite::Sqlite;

const USAGE: &str = "usage: cargo xtask demo [--port N] [--backend memory|sqlite|redis]

  sqlite  keeps its limits in the file RATELIMIT_SQLITE_FILE,
          by default ratelimit-demo.sqlite in the system's folder for temporary files
  redis   shares its limits through the server at RATELIMIT_REDIS_URL,
          by default redis://127.0.0.1:6379";

/// What the command line asks for.
pub(crate) struct Options {
    pub(crate) port: u16,
    pub(crate) backend: Kind,
}

/// Which store.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Memory,
    Sqlite,
    Redis,
}

impl Options {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self { port: 8080, backend: Kind::Memory };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().context(USAGE);
            match argument.as_str() {
                "--port" => {
                    options.port = value()?.parse().context("--port takes a port number")?
                }
                "--backend" => options.backend = Kind::parse(&value()?)?,
                _ => bail!(USAGE),
            }
        }
        Ok(options)
    }
}

impl Kind {
    fn parse(name: &str) -> Result<Self> {
        match name {
            "memory" => Ok(Self::Memory),
            "sqlite" => Ok(Self::Sqlite),
            "redis" => Ok(Self::Redis),
            _ => bail!("there is no backend {name:?}\n{USAGE}"),
        }
    }

    pub(crate) async fn open(self) -> Result<Arc<dyn Backend>> {
        Ok(match self {
            Self::Memory => Arc::new(Memory::new()),
            Self::Sqlite => {
                let file = env::var_os("RATELIMIT_SQLITE_FILE").map(Into::into);
                let file = file.unwrap_or_else(|| env::temp_dir().join("ratelimit-demo.sqlite"));
                Arc::new(Sqlite::open(&file).with_context(|| file.display().to_string())?)
            }
            Self::Redis => {
                let url = env::var("RATELIMIT_REDIS_URL");
                let url = url.unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned());
                let store = Redis::connect(&url).await;
                let missing = "there is no Redis: start one, or set RATELIMIT_REDIS_URL";
                Arc::new(Resilient::over(store.context(missing)?))
            }
        })
    }
}
