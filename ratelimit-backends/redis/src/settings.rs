//! The settings of a store: the server's URL, and limits on time and room.

use std::{fmt, num::NonZeroUsize, sync::Arc, time::Duration};

use ratelimit_backend::{BackendError, Clock, ErrorKind, WallClock};
use ratelimit_core::ConfigError;

use crate::{
    connection::{client::Endpoint, connect::Connector, recoveries::Recoveries},
    keys::Keyspace,
    redis::Redis,
    runtimes::Runtimes,
    script::ScriptClock,
};

/// The server's URL, and the settings of its connections. Its `Debug` shows neither host nor
/// credentials.
#[derive(Clone)]
#[must_use]
pub struct RedisSettings {
    endpoint: Endpoint,
    keyspace: Keyspace,
    client_name: String,
    pool_size: NonZeroUsize,
    deadline: Duration,
    connect_timeout: Duration,
    queue_max: usize,
    group_max: usize,
    clock: Option<Arc<dyn Clock>>,
}

impl RedisSettings {
    /// The default settings for the server of a URL:
    ///
    /// ```text
    /// redis :// [[user:]password@] host [:port][/database]
    /// redis+unix :// [[user:]password@] /path [?db=database]
    /// redis-cluster :// [[user:]password@] host [:port][?node=host:port[&node=…]]
    /// redis-sentinel :// [[user:]password@] host [:port][/database]?sentinelServiceName=name[&node=host:port…]
    /// ```
    ///
    /// With `rediss` instead of `redis` the connection is encrypted; `valkey` and `valkeys` mean
    /// the same as either. Sentinels with credentials of their own take the parameters
    /// `sentinelUsername` and `sentinelPassword`. A parameter that is not listed here is refused.
    ///
    /// Certificates are verified against those that the system trusts.
    ///
    /// # Errors
    ///
    /// If the URL is none of these, or asks for encryption and neither of the features
    /// `tls-rustls` and `tls-native` is on.
    pub fn new(url: &str) -> Result<Self, UrlError> {
        Ok(Self {
            endpoint: endpoint(url)?,
            keyspace: Keyspace::new("ratelimit").expect("the name is good"),
            client_name: "ratelimit".to_owned(),
            pool_size: NonZeroUsize::MIN,
            deadline: Duration::from_millis(100),
            connect_timeout: Duration::from_secs(1),
            queue_max: 10_000,
            group_max: GROUP,
            clock: None,
        })
    }

    /// Sets the text that all keys begin with; by default `ratelimit`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::BadName`] if it is not 1 to 64 characters of `a-z`, `0-9`, `_`, `.`, `-`.
    pub fn with_prefix(self, prefix: &str) -> Result<Self, ConfigError> {
        Ok(Self { keyspace: Keyspace::new(prefix)?, ..self })
    }

    /// Sets the name of the connections in the server's `CLIENT LIST`; by default `ratelimit`.
    pub fn with_client_name(self, name: impl Into<String>) -> Self {
        Self { client_name: name.into(), ..self }
    }

    /// Sets the number of connections of each runtime to each node, 1,024 at most; by default one,
    /// which many tasks share.
    pub fn with_pool_size(self, pool_size: NonZeroUsize) -> Self {
        Self { pool_size: pool_size.min(POOL_MAX), ..self }
    }

    /// Sets the deadline of a check, from a millisecond to a year; by default 100 ms. A connection
    /// that was silent for that long is replaced.
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline: deadline.clamp(TIME_MIN, TIME_MAX), ..self }
    }

    /// Sets the longest time that an attempt to connect may take, from a millisecond to a year; by
    /// default a second.
    pub fn with_connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout: connect_timeout.clamp(TIME_MIN, TIME_MAX), ..self }
    }

    /// Sets the most commands in flight on a connection, and the most checks for each connection
    /// that are in flight or wait to share a command; by default 10,000. More are refused at once,
    /// with [`ErrorKind::Overloaded`](ratelimit_backend::ErrorKind::Overloaded).
    pub fn with_queue_max(self, queue_max: NonZeroUsize) -> Self {
        Self { queue_max: queue_max.get(), ..self }
    }

    /// Sets the most checks that share a command, 1,024 at most; by default 64. Spends, or takes, of one
    /// key each share a command if they are under the same numbers and, in a cluster, of the same slot,
    /// and arrive while two such commands are in flight. Each is decided by itself, at its own cost. With
    /// one, every check has a command of its own.
    pub fn with_group_max(self, group_max: NonZeroUsize) -> Self {
        Self { group_max: group_max.get().min(GROUP_MAX), ..self }
    }

    /// Decides by this clock instead of the server's: **for tests**. Clients whose clocks differ
    /// would admit more than they should. State then stays for an hour longer than it matters, for
    /// the server forgets by its own clock.
    pub fn with_clock(self, clock: impl Clock + 'static) -> Self {
        Self { clock: Some(Arc::new(clock)), ..self }
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// If the server is not there, refuses, or is older than 6.2
    /// ([`ErrorKind::Incompatible`](ratelimit_backend::ErrorKind::Incompatible)). Of a cluster, one
    /// node has to be there.
    pub async fn connect(self) -> Result<Redis, BackendError> {
        let redis = self.connect_lazily();
        redis.settled().await?;
        Ok(redis)
    }

    /// Makes a store that connects at its first check in a runtime, and goes on until it succeeds.
    ///
    /// Each runtime has connections of its own, which end with it. A check waits for the first
    /// attempt to connect, within its time; when that has failed, every check fails at once, with
    /// the reason, until another attempt succeeds.
    #[must_use]
    pub fn connect_lazily(self) -> Redis {
        let recoveries = Arc::new(Recoveries::default());
        let connector = Connector {
            endpoint: self.endpoint,
            client_name: self.client_name,
            timeout: self.deadline,
            connect_timeout: self.connect_timeout,
            queue_max: self.queue_max,
            recoveries,
        };
        let clock = self.clock.clone().unwrap_or_else(|| Arc::new(WallClock::new()));
        let script_clock = ScriptClock::new(self.clock);
        let runtimes = Runtimes::new(connector, self.pool_size, self.group_max, script_clock);
        Redis::new(runtimes, clock, self.keyspace)
    }
}

impl Redis {
    /// A store on the server of a URL, see [`RedisSettings::new`], with the default settings.
    ///
    /// # Errors
    ///
    /// If the URL is refused ([`ErrorKind::Incompatible`]), or the server is not there, refuses,
    /// or is too old.
    pub async fn connect(url: &str) -> Result<Self, BackendError> {
        let refused = BackendError::not_applied(ErrorKind::Incompatible);
        RedisSettings::new(url).map_err(|error| refused.with_source(error))?.connect().await
    }
}

/// As many as make the most of a command, and a server busy for less than a millisecond.
const GROUP: usize = 64;

/// More in one command keep the server from all others for milliseconds.
const GROUP_MAX: usize = 1_024;

/// More than any server or host gains by.
const POOL_MAX: NonZeroUsize = NonZeroUsize::new(1_024).expect("it is not zero");

const TIME_MIN: Duration = Duration::from_millis(1);

/// Long enough for everybody, and no sum of a time and this overflows.
const TIME_MAX: Duration = Duration::from_secs(365 * 86_400);

impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSettings")
            .field("client_name", &self.client_name)
            .finish_non_exhaustive()
    }
}

/// Parses a URL, and refuses what the client would ignore.
fn endpoint(url: &str) -> Result<Endpoint, UrlError> {
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    let (server, kind) = scheme.split_once(['-', '+']).unwrap_or((scheme, ""));
    let is_encrypted = match server {
        "redis" | "valkey" => false,
        "rediss" | "valkeys" => true,
        _ => return Err(UrlError::Malformed),
    };
    let known: &[&str] = match (&scheme[server.len()..], is_encrypted) {
        ("", _) => &[],
        ("-cluster", _) => &["node"],
        ("-sentinel", _) => {
            &["node", "sentinelServiceName", "sentinelUsername", "sentinelPassword"]
        }
        ("+unix", false) => &["db"],
        _ => return Err(UrlError::Malformed),
    };
    let parameters = url.split_once('?').map_or("", |(_, parameters)| parameters);
    let mut names = parameters.split('&').filter(|parameter| !parameter.is_empty());
    let is_known =
        |parameter: &str| parameter.split_once('=').is_some_and(|(name, _)| known.contains(&name));
    if url.contains('#') || !names.all(is_known) {
        return Err(UrlError::UnknownParameter);
    }
    let endpoint = match kind {
        #[cfg(unix)]
        "unix" => at_socket(url),
        #[cfg(not(unix))]
        "unix" => return Err(UrlError::NoSockets),
        _ => Endpoint::parse(url),
    };
    let endpoint = endpoint.ok_or(UrlError::Malformed)?;
    if is_encrypted && !endpoint.is_encrypted() {
        return Err(UrlError::NoTls);
    }
    Ok(endpoint)
}

/// Parses `redis+unix://[[user:]password@]/path` and the parameter `db`.
#[cfg(unix)]
fn at_socket(url: &str) -> Option<Endpoint> {
    let (url, parameters) = url.split_once('?').unwrap_or((url, ""));
    let (_, rest) = url.split_once("://")?;
    let (credentials, path) = rest.split_once('/')?;
    if !credentials.is_empty() && !credentials.ends_with('@') {
        return None;
    }
    let mut parameters = parameters.split('&').rev();
    let database = match parameters.find_map(|parameter| parameter.strip_prefix("db=")) {
        Some(database) => database.parse().ok()?,
        None => 0,
    };
    Endpoint::at_socket(
        &format!("redis://{credentials}localhost"),
        format!("/{path}").into(),
        database,
    )
}

/// The reason for which a URL is refused. It does not show the URL, which may hold a password.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// It is not the URL of a server.
    #[error(
        "url is none of redis://, redis+unix://, redis-sentinel://, redis-cluster:// with a host"
    )]
    Malformed,
    /// It has a parameter that this kind of URL does not have.
    #[error("url has a parameter that is not known for its scheme")]
    UnknownParameter,
    /// It names a Unix socket, on a system that is not Unix.
    #[error("url names a Unix socket, which this system does not have")]
    NoSockets,
    /// It asks for encryption, and neither feature for that is on.
    #[error("url asks for encryption, which needs the feature tls-rustls or tls-native")]
    NoTls,
}

#[cfg(test)]
mod tests {
    use super::*;

    // FAULTS 220.
    #[test]
    fn connections_and_checks_that_share_a_command_are_bounded() {
        let settings = RedisSettings::new("redis://localhost").expect("the URL is good");
        let settings = settings.with_pool_size(NonZeroUsize::MAX).with_group_max(NonZeroUsize::MAX);
        assert_eq!((settings.pool_size, settings.group_max), (POOL_MAX, GROUP_MAX));
    }
}
