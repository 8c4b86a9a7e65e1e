//! The client library behind names of our own: the only file that knows `fred`.
//!
//! A client here is one connection and lives as long as that does. It sends nothing twice, and
//! connects to nothing else when the connection ends: that is for its user to do.

#[cfg(unix)]
use std::path::PathBuf;
use std::{borrow::Cow, fmt, time::Duration};

use fred::{
    clients,
    error::{Error, ErrorKind},
    interfaces::ClientLike,
    types::{
        Builder, ConnectHandle, CustomCommand, Value, Version,
        config::{Config, Options, Server, ServerConfig, TcpConfig},
    },
};

/// Bytes that clones share.
pub(crate) use fred::bytes::Bytes;

/// One server, a cluster or sentinels, and the credentials. Its `Debug` shows none of that.
#[derive(Clone)]
pub(crate) struct Endpoint(Config);

impl Endpoint {
    /// Parses a URL without parameters, or with those of a cluster or of sentinels.
    pub(crate) fn parse(url: &str) -> Option<Self> {
        Config::from_url(url).ok().map(Self)
    }

    /// A server that listens on a Unix socket, with the credentials of a URL.
    #[cfg(unix)]
    pub(crate) fn at_socket(url: &str, path: PathBuf, database: u8) -> Option<Self> {
        let Self(config) = Self::parse(url)?;
        let server = ServerConfig::Unix { path };
        Some(Self(Config { server, database: Some(database), ..config }))
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.0.uses_tls()
    }

    pub(crate) fn is_cluster(&self) -> bool {
        self.0.server.is_clustered()
    }

    /// The nodes that the URL names.
    pub(crate) fn addresses(&self) -> Vec<Address> {
        let hosts = self.0.server.hosts().into_iter();
        hosts.map(|Server { host, port, .. }| Address { host: host.to_string(), port }).collect()
    }

    /// One node of a cluster, with the same credentials.
    pub(crate) fn at(&self, address: &Address) -> Self {
        let server = Server::new(&*address.host, address.port);
        let server = ServerConfig::Centralized { server };
        Self(Config { server, ..self.0.clone() })
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").finish_non_exhaustive()
    }
}

/// The host and port of a node.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// A connection.
#[derive(Clone, Debug)]
pub(crate) struct Client(clients::Client);

impl Client {
    /// Sets a client up; it connects later.
    pub(crate) fn new(
        endpoint: &Endpoint,
        timeout: Duration,
        connect_timeout: Duration,
    ) -> Result<Self, Failure> {
        let mut builder = Builder::from_config(Config { fail_fast: true, ..endpoint.0.clone() });
        builder.with_performance_config(|performance| {
            performance.default_command_timeout = timeout;
        });
        builder.with_connection_config(|connection| {
            // A command in flight when a connection breaks may have run: it is not sent again.
            connection.max_command_attempts = 1;
            connection.connection_timeout = connect_timeout;
            connection.internal_command_timeout = connect_timeout;
            connection.tcp = TcpConfig { nodelay: Some(true), ..TcpConfig::default() };
        });
        Ok(Self(builder.build()?))
    }

    /// Connects.
    pub(crate) async fn connect(&self) -> Result<Driver, Failure> {
        Ok(Driver(self.0.init().await?))
    }

    /// The server's version, where the server tells it.
    pub(crate) fn server_version(&self) -> Option<[u64; 3]> {
        let Version { major, minor, patch, .. } = self.0.server_version()?;
        Some([major, minor, patch])
    }

    /// The host of the server.
    pub(crate) fn host(&self) -> String {
        let hosts = self.0.client_config().server.hosts();
        hosts.first().map_or_else(String::new, |server| server.host.to_string())
    }

    /// Sends a command and waits for its reply, for `wait` at most.
    pub(crate) fn call(
        &self,
        command: &'static str,
        arguments: Vec<Bytes>,
        wait: Duration,
    ) -> impl Future<Output = Result<Reply, Failure>> + Send + use<> {
        let client = self.0.with_options(&options(wait));
        async move {
            // Boxed, since it takes kilobytes, and would be moved with what is around it.
            let reply: Value = Box::pin(client.custom(word(command), arguments)).await?;
            Ok(reply.into())
        }
    }

    /// Sends a command that the server is to run although the key's slot is only on its way to
    /// it. Both words are written one after the other, whatever else is.
    pub(crate) fn call_asking(
        &self,
        command: &'static str,
        arguments: Vec<Bytes>,
        wait: Duration,
    ) -> impl Future<Output = Result<Reply, Failure>> + Send + use<> {
        let both = self.0.pipeline().with_options(&options(wait));
        async move {
            let _: Value = both.custom(word("ASKING"), Vec::<Bytes>::new()).await?;
            let _: Value = both.custom(word(command), arguments).await?;
            Ok(Reply::from(both.last::<Value>().await?))
        }
    }
}

fn word(command: &'static str) -> CustomCommand {
    CustomCommand::new_static(command, None, false)
}

/// Never a wait of no time at all, which would mean one without an end.
fn options(wait: Duration) -> Options {
    Options { timeout: Some(wait.max(Duration::from_millis(1))), ..Options::default() }
}

/// The task that reads from a connection and writes to it; the connection ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Driver(ConnectHandle);

impl Driver {
    /// Waits for the end of the connection.
    pub(crate) async fn ended(&mut self) {
        let _ = (&mut self.0).await;
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The reply to a command.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Array(Vec<Self>),
    Bytes(Bytes),
    Integer(i64),
    /// Nothing, or what no command of ours is replied with.
    Other,
}

impl Reply {
    pub(crate) fn as_bytes(&self) -> Option<&[u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    pub(crate) fn as_text(&self) -> Option<Cow<'_, str>> {
        self.as_bytes().map(String::from_utf8_lossy)
    }
}

impl From<Value> for Reply {
    fn from(value: Value) -> Self {
        match value {
            Value::Array(values) => Self::Array(values.into_iter().map(Self::from).collect()),
            Value::Bytes(bytes) => Self::Bytes(bytes),
            Value::Integer(integer) => Self::Integer(integer),
            Value::String(text) => Self::Bytes(text.into_inner()),
            _ => Self::Other,
        }
    }
}

/// An error reply of the server, or a failure of the connection.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) cause: Cause,
    /// The server's own text, or the client's. It may quote commands and their arguments.
    pub(crate) details: Cow<'static, str>,
    /// The kind of failure in a word or two.
    pub(crate) name: &'static str,
}

/// The client's own account of a failure. The server's first word comes before it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Cause {
    /// No reply came in time.
    Timeout,
    /// Too many commands are under way.
    Backpressure,
    Auth,
    /// No server was found to send it to.
    Unreachable,
    /// The reply was no reply.
    Protocol,
    /// The command or the settings are not possible.
    Usage,
    /// The connection was lost.
    Lost,
}

impl Failure {
    /// More commands than the settings allow are under way.
    pub(crate) const fn backpressure() -> Self {
        let details = Cow::Borrowed("too many commands are under way");
        Self { cause: Cause::Backpressure, details, name: "backpressure" }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let cause = match error.kind() {
            ErrorKind::Timeout => Cause::Timeout,
            ErrorKind::Backpressure => Cause::Backpressure,
            ErrorKind::Auth => Cause::Auth,
            ErrorKind::Routing | ErrorKind::Cluster | ErrorKind::Sentinel => Cause::Unreachable,
            ErrorKind::Protocol | ErrorKind::Parse => Cause::Protocol,
            ErrorKind::Config
            | ErrorKind::Url
            | ErrorKind::InvalidArgument
            | ErrorKind::InvalidCommand => Cause::Usage,
            _ => Cause::Lost,
        };
        Self { cause, name: error.kind().to_str(), details: error.details().to_owned().into() }
    }
}

/// The slot of a key in a cluster.
pub(crate) fn key_slot(key: &str) -> u16 {
    fred::util::redis_keyslot(key.as_bytes())
}

/// The digest by which a server knows a script.
pub(crate) fn script_digest(text: &str) -> String {
    fred::util::sha1_hash(text)
}
