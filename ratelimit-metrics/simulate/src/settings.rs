//! The settings of a log: its fields, and filters of its requests.

use ratelimit_core::Micros;
use ratelimit_http::ClientIp;

use crate::{filter::Patterns, keys::Part, log::Format};

/// The fields of a log, and filters of its requests.
///
/// A field is called as in the log; a value inside of an object of JSON by its path, with dots
/// between. In every format `client`, `forwarded`, `time`, `method`, `path` and `status` are the
/// fields that mean this.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LogSettings {
    /// The format; by default the first line of each log tells.
    pub format: Option<Format>,
    /// The fields of the key; by default `client`, the address as the HTTP layer finds it.
    pub key: Vec<String>,
    /// The field of the cost; by default each request costs 1.
    pub cost: Option<String>,
    /// The field of the time; by default `time`.
    pub time: String,
    /// The field of the peer's address; by default `client`.
    pub peer: String,
    /// The proxies in front of the server that wrote the log; by default none.
    pub client_ip: ClientIp,
    /// The header in which proxies pass on addresses, as `client_ip` reads it, and the field that has
    /// it; by default there is none.
    pub forwarded: Option<(String, String)>,
    /// The methods that count; by default all. So for paths and statuses.
    pub methods: Patterns,
    /// The paths that count, without their queries.
    pub paths: Patterns,
    /// The statuses that count.
    pub statuses: Patterns,
    /// The time by which a line may be late; by default five seconds. Requests are put in the order
    /// of their times as far as that goes.
    pub order_within: Micros,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            format: None,
            key: vec!["client".to_owned()],
            cost: None,
            time: "time".to_owned(),
            peer: "client".to_owned(),
            client_ip: ClientIp::peer(),
            forwarded: None,
            methods: Patterns::default(),
            paths: Patterns::default(),
            statuses: Patterns::default(),
            order_within: Micros::from_secs(5),
        }
    }
}

/// The names of the wanted values, and the parts of the key.
pub(crate) fn wanted(settings: &LogSettings) -> (Vec<Option<String>>, Vec<Part>) {
    let mut names = vec![None; COST + 1];
    names[TIME] = Some(settings.time.clone());
    names[COST].clone_from(&settings.cost);
    for (place, name, patterns) in [
        (METHOD, "method", &settings.methods),
        (PATH, "path", &settings.paths),
        (STATUS, "status", &settings.statuses),
    ] {
        names[place] = (!patterns.is_empty()).then(|| name.to_owned());
    }
    let mut parts = Vec::new();
    for name in &settings.key {
        parts.push(match name.as_str() {
            "client" => {
                names[PEER] = Some(settings.peer.clone());
                names[FORWARDED] = settings.forwarded.as_ref().map(|(_, field)| field.clone());
                let forwarded = settings.forwarded.as_ref().map(|_| FORWARDED);
                Part::Client { peer: PEER, forwarded }
            }
            "path" => {
                names[PATH] = Some(name.clone());
                Part::Path(PATH)
            }
            _ => {
                names.push(Some(name.clone()));
                Part::Field(names.len() - 1)
            }
        });
    }
    (names, parts)
}

/// The places of the wanted values in a line.
pub(crate) const TIME: usize = 0;
const PEER: usize = 1;
const FORWARDED: usize = 2;
pub(crate) const METHOD: usize = 3;
pub(crate) const PATH: usize = 4;
pub(crate) const STATUS: usize = 5;
pub(crate) const COST: usize = 6;
