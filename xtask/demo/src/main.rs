//! `cargo xtask demo`: a web service that each of the six algorithms limits, or leases of one limit at work.

mod options;
mod serve;

mod page;
mod routes;
mod statistics;

#[cfg(feature = "redis")]
mod leases;

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use tokio::net::TcpListener;

use crate::options::Options;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    #[cfg(feature = "redis")]
    if arguments == [leases::HOLDER] {
        return leases::hold().await;
    }
    let options = Options::parse(&arguments)?;
    let app = match (options.lease, &options.svg) {
        (None, None) => routes::app(options.open().await?)?,
        #[cfg(feature = "redis")]
        (Some(share), None) => routes::of_leases(leases::routes(share)?),
        #[cfg(feature = "redis")]
        (Some(share), Some(file)) => {
            return std::fs::write(file, leases::picture(share)?).with_context(|| file.clone());
        }
        _ => anyhow::bail!("leases are shown in redis, by a demo that is built with this feature"),
    };
    let address = (Ipv4Addr::LOCALHOST, options.port);
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("port {} cannot be listened on", options.port))?;
    let stop = asked_to_stop()?;
    println!("listening on http://{}", listener.local_addr()?);
    serve::serve(listener, app, stop).await;
    println!("stopped");
    Ok(())
}

/// Ends with Ctrl-C, or when the system asks the process to end, from this call on.
#[cfg(unix)]
fn asked_to_stop() -> Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Ends with Ctrl-C.
#[cfg(not(unix))]
fn asked_to_stop() -> Result<impl Future<Output = ()>> {
    Ok(async { drop(tokio::signal::ctrl_c().await) })
}
