//! The peer: a token bucket as a short script, run with fred. It computes in doubles, and returns
//! only the tokens left.

use anyhow::Result;
use fred::{
    clients::Client,
    interfaces::{ClientLike, LuaInterface},
    types::{
        Builder,
        config::{Config, TcpConfig},
    },
};
use ratelimit_servers::Server;

#[derive(Clone)]
pub(super) struct Handwritten {
    client: Client,
    sha: String,
}

impl Handwritten {
    pub(super) async fn connect(server: &Server) -> Result<Self> {
        let client = client(server).await?;
        let sha = client.script_load(SCRIPT).await?;
        Ok(Self { client, sha })
    }

    /// Takes a token of `key`, if there is one, and gives how many are left, or less than none.
    pub(super) async fn check(&self, key: &str) -> Result<i64> {
        let bucket = ["100000000", "0.000001", "100000000"];
        Ok(self.client.evalsha(self.sha.as_str(), key, bucket.to_vec()).await?)
    }
}

/// A client as one sets it up by hand.
pub(super) async fn client(server: &Server) -> Result<Client> {
    let mut builder = Builder::from_config(Config::from_url(&server.url())?);
    builder.with_connection_config(|connection| {
        connection.tcp = TcpConfig { nodelay: Some(true), ..TcpConfig::default() };
    });
    let client = builder.build()?;
    drop(client.init().await?);
    Ok(client)
}

/// Capacity, tokens a microsecond, milliseconds to keep it.
const SCRIPT: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local capacity, rate = tonumber(ARGV[1]), tonumber(ARGV[2])
local tokens, at = capacity, now
local state = redis.call('GET', KEYS[1])
if state then
  local stored, since = state:match('^(.+):(.+)$')
  tokens, at = tonumber(stored), tonumber(since)
end
tokens = math.min(capacity, tokens + math.max(0, now - at) * rate)
if tokens < 1 then return -1 end
redis.call('SET', KEYS[1], string.format('%.17g:%.0f', tokens - 1, now), 'PX', ARGV[3])
return math.floor(tokens - 1)
";
