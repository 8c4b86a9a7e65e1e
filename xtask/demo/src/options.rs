//! What the command line asks for.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use ratelimit_algorithms::Backend;
use ratelimit_memory::Memory;

const USAGE: &str = "usage: cargo xtask demo [--port N] [--backend memory]";

/// What the command line asks for.
pub(crate) struct Options {
    pub(crate) port: u16,
    pub(crate) backend: Kind,
}

/// Which store.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Memory,
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
            _ => bail!("there is no backend {name:?}\n{USAGE}"),
        }
    }

    pub(crate) fn open(self) -> Arc<dyn Backend> {
        match self {
            Self::Memory => Arc::new(Memory::new()),
        }
    }
}
