//! The arguments of the command.

use std::{error::Error, path::PathBuf};

use lexopt::{
    Arg::{Long, Short, Value},
    Parser, ValueExt,
};
use ratelimit_http::{ClientIp, ClientIpBuilder};
use ratelimit_simulate::{Candidates, LogSettings, Micros, Share};

/// The work that the arguments ask for.
pub(crate) enum Request {
    Help,
    Version,
    Simulate(Box<Arguments>),
}

/// The limits, the logs and the places for the report.
pub(crate) struct Arguments {
    pub(crate) candidates: Candidates,
    pub(crate) deny_at_most: Option<Share>,
    pub(crate) clients_max: usize,
    pub(crate) settings: LogSettings,
    pub(crate) logs: Vec<PathBuf>,
    pub(crate) outputs: Outputs,
}

/// Files for the forms of the report; `-` is standard output.
#[derive(Default)]
pub(crate) struct Outputs {
    pub(crate) json: Option<PathBuf>,
    pub(crate) html: Option<PathBuf>,
    pub(crate) limits: Option<PathBuf>,
}

/// Reads the arguments of this process.
///
/// # Errors
///
/// If an argument is unknown, or its value is none.
pub(crate) fn parse() -> Result<Request, Box<dyn Error>> {
    let mut parser = Parser::from_env();
    let mut arguments = Arguments {
        candidates: Candidates::default(),
        deny_at_most: None,
        clients_max: 1_000_000,
        settings: LogSettings::default(),
        logs: Vec::new(),
        outputs: Outputs::default(),
    };
    let mut proxies = Proxies::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(Request::Help),
            Short('V') | Long("version") => return Ok(Request::Version),
            Value(log) => arguments.logs.push(log.into()),
            Long(name) => {
                let name = name.to_owned();
                if !(limit(&name, &mut parser, &mut arguments)?
                    || field(&name, &mut parser, &mut arguments.settings)?
                    || proxies.option(&name, &mut parser)?
                    || output(&name, &mut parser, &mut arguments.outputs)?)
                {
                    return Err(format!("there is no option --{name}").into());
                }
            }
            other => return Err(other.unexpected().into()),
        }
    }
    proxies.apply(&mut arguments.settings)?;
    if arguments.candidates.names().next().is_none() {
        return Err("no limits: name a file (--limits) or one limit (--limit api=100/60s)".into());
    }
    if arguments.outputs.limits.is_some() && arguments.deny_at_most.is_none() {
        return Err("--write wants --deny-at-most: it writes what that finds".into());
    }
    if arguments.logs.is_empty() {
        arguments.logs.push("-".into());
    }
    Ok(Request::Simulate(Box::new(arguments)))
}

/// Takes an option about limits; returns false if it is none.
fn limit(name: &str, parser: &mut Parser, to: &mut Arguments) -> Result<bool, Box<dyn Error>> {
    let more = match name {
        "limits" => Candidates::open(parser.value()?)?,
        "limit" => one_limit(&parser.value()?.string()?)?,
        "deny-at-most" => {
            to.deny_at_most = Some(parser.value()?.parse()?);
            return Ok(true);
        }
        "clients-max" => {
            to.clients_max = parser.value()?.parse()?;
            return Ok(true);
        }
        _ => return Ok(false),
    };
    to.candidates = std::mem::take(&mut to.candidates).and(more)?;
    Ok(true)
}

/// Reads `api=100/60s`, or a table: `api={ limit = 100, window = "60s" }`.
fn one_limit(text: &str) -> Result<Candidates, Box<dyn Error>> {
    let (name, limit) = text.split_once('=').ok_or("a limit is NAME=LIMIT, as in api=100/60s")?;
    let limit = limit.trim();
    let is_table = limit.starts_with('{');
    let line = if is_table { format!("{name}={limit}") } else { format!("{name}='{limit}'") };
    Ok(line.parse()?)
}

/// Takes an option about the fields of a log; returns false if it is none.
fn field(name: &str, parser: &mut Parser, to: &mut LogSettings) -> Result<bool, Box<dyn Error>> {
    let mut text = || parser.value()?.string();
    match name {
        "format" => to.format = Some(text()?.parse()?),
        "key" => to.key = text()?.split(',').map(str::to_owned).collect(),
        "cost" => to.cost = Some(text()?),
        "time" => to.time = text()?,
        "peer" => to.peer = text()?,
        "method" => to.methods = std::mem::take(&mut to.methods).and(text()?.parse()?),
        "path" => to.paths = std::mem::take(&mut to.paths).and(text()?.parse()?),
        "status" => {
            // A class of statuses is written as people do: 5xx.
            let patterns = text()?.replace('x', "?").parse()?;
            to.statuses = std::mem::take(&mut to.statuses).and(patterns);
        }
        "order-within" => {
            to.order_within = Micros::from_secs(text()?.parse().map_err(|_| NO_SECONDS)?);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

const NO_SECONDS: &str = "--order-within wants a whole number of seconds";

/// Takes an option about the report; returns false if it is none.
fn output(name: &str, parser: &mut Parser, to: &mut Outputs) -> Result<bool, Box<dyn Error>> {
    let place = match name {
        "json" => &mut to.json,
        "html" => &mut to.html,
        "write" => &mut to.limits,
        _ => return Ok(false),
    };
    *place = Some(parser.value()?.into());
    Ok(true)
}

/// The proxies in front of the server that wrote the log.
#[derive(Default)]
struct Proxies {
    networks: Option<Vec<String>>,
    hops: Option<usize>,
    header: Option<String>,
    field: Option<String>,
    ipv6_prefix: Option<u8>,
}

impl Proxies {
    /// Takes an option about proxies; returns false if it is none.
    fn option(&mut self, name: &str, parser: &mut Parser) -> Result<bool, Box<dyn Error>> {
        match name {
            "trusted-proxies" => {
                let networks = parser.value()?.string()?;
                self.networks = Some(networks.split(',').map(str::to_owned).collect());
            }
            "trusted-hops" => self.hops = Some(parser.value()?.parse()?),
            "proxy-header" => self.header = Some(parser.value()?.string()?.to_lowercase()),
            "forwarded" => self.field = Some(parser.value()?.string()?),
            "ipv6-prefix" => self.ipv6_prefix = Some(parser.value()?.parse()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn apply(self, settings: &mut LogSettings) -> Result<(), Box<dyn Error>> {
        let mut builder = ClientIp::builder();
        if let Some(bits) = self.ipv6_prefix {
            builder = builder.ipv6_prefix(bits);
        }
        if let Some(networks) = self.networks.as_ref() {
            builder = builder.trusted_proxies(networks);
        }
        if let Some(hops) = self.hops {
            builder = builder.trusted_hops(hops);
        }
        if self.networks.is_some() || self.hops.is_some() {
            let header = self.header.as_deref().unwrap_or("x-forwarded-for");
            builder = read_header(builder, header);
            let field = self.field.unwrap_or_else(|| "forwarded".to_owned());
            settings.forwarded = Some((header.to_owned(), field));
        } else if self.header.is_some() || self.field.is_some() {
            return Err("whose header is it? Name --trusted-proxies, or --trusted-hops".into());
        }
        settings.client_ip = builder.build()?;
        Ok(())
    }
}

fn read_header(builder: ClientIpBuilder, header: &str) -> ClientIpBuilder {
    match header {
        "x-forwarded-for" => builder.x_forwarded_for(),
        "forwarded" => builder.forwarded(),
        other => builder.single(other),
    }
}

/// The answer to `--help`.
pub(crate) const HELP: &str = "\
What a rate limit would have done to yesterday's traffic.

usage: ratelimit-simulate [OPTIONS] [LOG]...

Reads access logs, plain or packed by gzip; standard input if none is named, or for `-`.
Exit status: 0, 1 if a log ends early (what was read is reported), 2 for wrong arguments.

limits:
  --limits FILE            the limits of a limits file (.toml, .json)
  --limit NAME=LIMIT       one limit: api=100/60s, or a table as in a limits file
  --deny-at-most SHARE     finds the smallest limits that deny at most 1%, say, of the clients
  --clients-max NUMBER     room for so many clients (1000000); others are counted only

log:
  --format FORMAT          combined (common), nginx, caddy, traefik, envoy, axum or csv; by
                           default the first line tells
  --key FIELD[,FIELD]      the fields of the key (client)
  --cost FIELD             the field of the cost; by default a request costs 1
  --time FIELD             the field of the time (time)
  --peer FIELD             the field of the peer's address (client)
  --trusted-proxies NETS   the networks of proxies in front: 10.0.0.0/8,192.0.2.7
  --trusted-hops NUMBER    or how many proxies there are
  --proxy-header NAME      the header in which they name the client (x-forwarded-for)
  --forwarded FIELD        the field that has this header (forwarded)
  --ipv6-prefix BITS       the bits of an IPv6 address that count (64)
  --method PATTERNS        the methods that count: GET,POST
  --path PATTERNS          the paths that count: /api/*,!/api/health
  --status PATTERNS        the statuses that count: 2xx,404,!429
  --order-within SECONDS   lines may be late by so much (5)

  A field is called as in the log, inside of JSON by its path (request.headers.X-Key). In every
  format client, forwarded, time, method, path and status mean just that. In patterns * stands for
  any text, and ! is before what does not count.

report:
  --json FILE              as JSON; for `-` on standard output, in place of the table
  --html FILE              as a page with charts
  --write FILE             what --deny-at-most finds, as a limits file
  -h, --help               this text
  -V, --version            the version
";
