//! One entry of a list of addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::address::canonical;

/// The address of a client or a proxy.
pub(super) type Node = IpAddr;

/// An address with or without a port, IPv6 with or without brackets; spaces around it are not
/// part of it. `None` for anything else.
pub(super) fn parse(entry: &[u8]) -> Option<Node> {
    let entry = std::str::from_utf8(entry).ok()?.trim_matches([' ', '\t']);
    if TEXT_MAX < entry.len() {
        return None;
    }
    let address = match entry.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            is_port_or_nothing(port).then_some(IpAddr::V6(address.parse().ok()?))
        }
        None => bare(entry),
    };
    let address = canonical(address?);
    (!address.is_unspecified() && !address.is_multicast()).then_some(address)
}

/// The longest that is looked at: an IPv6 address with brackets and a port has 53 characters.
const TEXT_MAX: usize = 64;

fn bare(entry: &str) -> Option<IpAddr> {
    if let Ok(address) = entry.parse::<Ipv6Addr>() {
        return Some(address.into());
    }
    let end = entry.find(':').unwrap_or(entry.len());
    let (address, port) = entry.split_at(end);
    let address: Ipv4Addr = address.parse().ok()?;
    is_port_or_nothing(port).then_some(address.into())
}

/// Whether this is nothing, or a colon and a port (or, of RFC 7239, a made up name of one).
fn is_port_or_nothing(text: &str) -> bool {
    let Some(port) = text.strip_prefix(':') else { return text.is_empty() };
    match port.strip_prefix('_') {
        Some(name) => {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            !name.is_empty() && name.bytes().all(fits)
        }
        None => port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok(),
    }
}
