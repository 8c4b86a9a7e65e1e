//! Decisions a second of a server, and their cost to it, beside a script written by hand. On a
//! `redis-server` of this run.

mod composite;
mod concurrent;
mod handwritten;
mod leased;
mod redis_cell;
mod server_time;

use std::{cell::LazyCell, num::NonZeroUsize, time::Duration};

use anyhow::Result;
use ratelimit_algorithms::Limiter;
use ratelimit_redis::{Redis, RedisSettings};
use ratelimit_servers::Server;
use tokio::runtime::Runtime;

use crate::{bench::Bench, setup::Outcome};

pub(crate) fn rows(bench: &mut Bench<'_>) -> Result<()> {
    let site = Site { runtime: Runtime::new()?, server: LazyCell::new(|| Server::start(&[])) };
    concurrent::rows(bench, &site)?;
    redis_cell::rows(bench, &site)?;
    server_time::rows(bench, &site)?;
    composite::rows(bench, &site)?;
    leased::rows(bench, &site)
}

/// The runtime and the server of the rows.
struct Site {
    runtime: Runtime,
    /// Started for the first row that is wanted; there may be none.
    server: LazyCell<Option<Server>>,
}

/// A store whose commands carry one check each, or more.
async fn connect(server: &Server, coalescing: Coalescing) -> Result<Redis> {
    let settings = RedisSettings::new(&server.url())?.with_deadline(Duration::from_secs(10));
    let settings = match coalescing {
        Coalescing::Off => settings.with_group_max(NonZeroUsize::MIN),
        Coalescing::On => settings,
    };
    Ok(settings.connect().await?)
}

async fn limiter(server: &Server, coalescing: Coalescing) -> Result<Limiter<Redis>> {
    let store = connect(server, coalescing).await?;
    Ok(Limiter::new(store, "bench", Outcome::Allowed.bucket())?)
}

/// The choice whether checks may share a command.
#[derive(Clone, Copy)]
enum Coalescing {
    Off,
    On,
}

impl Coalescing {
    const fn name(self) -> &'static str {
        match self {
            Self::Off => "no coalescing",
            Self::On => "coalesced",
        }
    }
}
