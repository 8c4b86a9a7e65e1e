//! What nodes of a cluster say about slots.

use std::ops::RangeInclusive;

use fred::types::{Value, config::Server};

/// Slots that one node serves.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Range {
    pub(crate) slots: RangeInclusive<u16>,
    pub(crate) server: Server,
}

/// The reply to `CLUSTER SLOTS` of the node at `host`; `None` if it makes no sense.
pub(crate) fn ranges(reply: &Value, host: &str) -> Option<Vec<Range>> {
    let Value::Array(ranges) = reply else { return None };
    ranges.iter().map(|range| self::range(range, host)).collect()
}

/// First and last slot, the primary, its replicas. A node is its host, its port, and more.
fn range(range: &Value, host: &str) -> Option<Range> {
    let Value::Array(parts) = range else { return None };
    let [Value::Integer(first), Value::Integer(last), Value::Array(primary), ..] = &parts[..]
    else {
        return None;
    };
    let [name, Value::Integer(port), ..] = &primary[..] else { return None };
    let [first, last, port] = [first, last, port].map(|&number| u16::try_from(number).ok());
    Some(Range { slots: first?..=last?, server: server(&name.as_str()?, port?, host) })
}

/// Where `MOVED 3999 127.0.0.1:6381` or `ASK …` points to; said by the node at `host`.
pub(crate) fn target(said: &str, host: &str) -> Option<Server> {
    let address = said.split(' ').nth(2)?;
    let (name, port) = address.trim_end().rsplit_once(':')?;
    Some(server(name, port.parse().ok()?, host))
}

/// A node that does not know its own name says none, or a question mark.
fn server(name: &str, port: u16, host: &str) -> Server {
    Server::new(if matches!(name, "" | "?") { host } else { name }, port)
}
