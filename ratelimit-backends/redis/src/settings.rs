//! What a store is made from: where the server is, and how to speak to it.

use std::{fmt, num::NonZeroUsize, sync::Arc, time::Duration};

use fred::types::config::Config;
use ratelimit_backend::{BackendError, Clock};
use ratelimit_core::ConfigError;

use crate::{
    Redis, clock::ScriptClock, connection::recoveries::Comebacks, dispatch::Connection, connection::connect::Dialer,
    keys::Keyspace, coalesce::Lanes,
};

/// Where the server is, and how to speak to it. Its `Debug` shows neither.
#[derive(Clone)]
#[must_use]
pub struct Settings {
    config: Config,
    keyspace: Keyspace,
    client_name: String,
    pool_size: NonZeroUsize,
    deadline: Duration,
    connect_timeout: Duration,
    queue_max: usize,
    group_max: usize,
    clock: Option<Arc<dyn Clock>>,
}

impl Settings {
    /// A server by its URL:
    ///
    /// ```text
    /// redis :// [[user:]password@] host [:port][/database]
    /// redis-cluster :// [[user:]password@] host [:port][?node=host:port[&node=…]]
    /// redis-sentinel :// [[user:]password@] host [:port][/database]?sentinelServiceName=name[&node=host:port…]
    /// ```
    ///
    /// With `rediss` instead of `redis` the connection is encrypted; `valkey` and `valkeys` mean
    /// the same as either.
    ///
    /// # Errors
    ///
    /// If the URL is none of these, or asks for encryption and neither of the features
    /// `tls-rustls` and `tls-native` is on.
    pub fn new(url: &str) -> Result<Self, UrlError> {
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        let server = scheme.strip_suffix("-cluster").or_else(|| scheme.strip_suffix("-sentinel"));
        let is_encrypted = match server.unwrap_or(scheme) {
            "redis" | "valkey" => false,
            "rediss" | "valkeys" => true,
            _ => return Err(UrlError::Malformed),
        };
        let config = Config::from_url(url).map_err(|_| UrlError::Malformed)?;
        if is_encrypted && !config.uses_tls() {
            return Err(UrlError::NoTls);
        }
        Ok(Self::of(config))
    }

    /// A server by the client's own configuration, for what a URL cannot say: certificates, other
    /// credentials for sentinels. The exchange of messages is set up here all the same.
    ///
    /// The client is `fred` 10; another version of it is another type.
    #[cfg(feature = "client-config")]
    pub fn from_config(config: Config) -> Self {
        Self::of(config)
    }

    fn of(config: Config) -> Self {
        Self {
            config,
            keyspace: Keyspace::new("ratelimit").expect("the name is good"),
            client_name: "ratelimit".to_owned(),
            pool_size: NonZeroUsize::MIN,
            deadline: Duration::from_millis(100),
            connect_timeout: Duration::from_secs(1),
            queue_max: 10_000,
            group_max: GROUP_MAX,
            clock: None,
        }
    }

    /// What all keys begin with; by default `ratelimit`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::BadName`] if it is not 1 to 64 characters of `a-z`, `0-9`, `_`, `.`, `-`.
    pub fn with_prefix(self, prefix: &str) -> Result<Self, ConfigError> {
        Ok(Self { keyspace: Keyspace::new(prefix)?, ..self })
    }

    /// The name of the connections in the server's `CLIENT LIST`; by default `ratelimit`.
    pub fn with_client_name(self, name: impl Into<String>) -> Self {
        Self { client_name: name.into(), ..self }
    }

    /// How many connections there are, to each node; by default one, which many tasks share.
    pub fn with_pool_size(self, pool_size: NonZeroUsize) -> Self {
        Self { pool_size, ..self }
    }

    /// How long a check may take, a millisecond at least; by default 100 of them. It ends then,
    /// whatever it waits for; a connection on which nothing was heard for so long is made anew.
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline: deadline.max(Duration::from_millis(1)), ..self }
    }

    /// How long an attempt to connect may take, a millisecond at least; by default a second.
    pub fn with_connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout: connect_timeout.max(Duration::from_millis(1)), ..self }
    }

    /// How many commands may be under way on a connection, and how many checks for each connection,
    /// before others that would wait to share a command are refused; by default 10 000. Those are
    /// refused at once, with [`ErrorKind::Overloaded`](ratelimit_backend::ErrorKind::Overloaded).
    pub fn with_queue_max(self, queue_max: NonZeroUsize) -> Self {
        Self { queue_max: queue_max.get(), ..self }
    }

    /// How many checks may share a command; by default 64. They are checks of one key, of the same
    /// policy, at the same cost and, in a cluster, of the same slot, that come while two such
    /// commands are under way; each is decided by itself. With one, every check has a command of
    /// its own.
    pub fn with_group_max(self, group_max: NonZeroUsize) -> Self {
        Self { group_max: group_max.get(), ..self }
    }

    /// Goes by this clock instead of the server's: **for tests**. Clients whose clocks differ
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
        let redis = self.open();
        redis.settled().await?;
        Ok(redis)
    }

    /// Begins to connect, and goes on until it succeeds. A check waits for the first attempt, within
    /// its time; when that has failed, every check fails at once until another succeeds, and says
    /// why.
    ///
    /// # Panics
    ///
    /// Outside of a runtime of `tokio`.
    #[must_use]
    pub fn connect_lazily(self) -> Redis {
        self.open()
    }

    fn open(self) -> Redis {
        let comebacks = Arc::new(Comebacks::default());
        let dialer = Dialer {
            config: self.config,
            client_name: self.client_name,
            timeout: self.deadline,
            connect_timeout: self.connect_timeout,
            queue_max: self.queue_max,
            comebacks: Arc::clone(&comebacks),
        };
        let callers_max = self.queue_max.saturating_mul(self.pool_size.get());
        let connection = Connection::open(dialer, self.pool_size);
        let clock = ScriptClock(self.clock);
        let lanes = Lanes::new(connection, clock, self.group_max, callers_max);
        Redis::new(lanes, comebacks, self.keyspace, self.deadline)
    }
}

/// As many as make the most of a command, and a server busy for less than a millisecond.
const GROUP_MAX: usize = 64;

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("client_name", &self.client_name).finish_non_exhaustive()
    }
}

/// Why a URL is refused. Says nothing of the URL, which may hold a password.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// It is not of a server.
    #[error("url is none of redis://, redis-sentinel://, redis-cluster:// with a host")]
    Malformed,
    /// It asks for encryption, and the features are off that can.
    #[error("url asks for encryption, which needs the feature tls-rustls or tls-native")]
    NoTls,
}
