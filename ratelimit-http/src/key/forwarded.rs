//! Elements of `X-Forwarded-For` and `Forwarded` (RFC 7239), read from the right.
//!
//! From the right, because a client that leaves a quote open would otherwise have the proxies'
//! own elements taken for the rest of its text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::request_key::canonical;

/// The address in one element of `X-Forwarded-For`: with or without a port, IPv6 with or without
/// brackets, spaces around it. `None` for anything else.
pub(super) fn address(entry: &[u8]) -> Option<IpAddr> {
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

/// True of nothing, and of a colon with a port (or, in RFC 7239, a made-up name of one).
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

/// The address of the `for` parameter in one element of `Forwarded`; `None` unless there is exactly
/// one, and it is an address.
///
/// A colon or brackets need no quotes, since many proxies write them without.
pub(super) fn for_address(element: &[u8]) -> Option<IpAddr> {
    let mut nodes = RightSplit::new(element, b';').filter_map(node_of);
    let node = nodes.next()?;
    if nodes.next().is_some() { None } else { address(unquoted(node)?) }
}

/// The value of this pair, if it is called `for`.
fn node_of(pair: &[u8]) -> Option<&[u8]> {
    let pair = pair.trim_ascii();
    let (name, value) = pair.split_at_checked(FOR.len())?;
    name.eq_ignore_ascii_case(FOR).then_some(value)
}

const FOR: &[u8] = b"for=";

/// The value without its quotes; no address needs an escape.
fn unquoted(value: &[u8]) -> Option<&[u8]> {
    match value {
        [b'"', inner @ .., b'"'] => (!inner.contains(&b'\\')).then_some(inner),
        _ => Some(value),
    }
}

/// The parts of a text between separators that are not quoted, from right to left.
pub(super) struct RightSplit<'a> {
    rest: Option<&'a [u8]>,
    separator: u8,
}

impl<'a> RightSplit<'a> {
    pub(super) const fn new(text: &'a [u8], separator: u8) -> Self {
        Self { rest: Some(text), separator }
    }
}

impl<'a> Iterator for RightSplit<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let text = self.rest?;
        let mut is_quoted = false;
        for (index, &byte) in text.iter().enumerate().rev() {
            if byte == b'"' && !is_escaped(text, index) {
                is_quoted = !is_quoted;
            } else if byte == self.separator && !is_quoted {
                self.rest = Some(&text[..index]);
                return Some(&text[index + 1..]);
            }
        }
        self.rest = None;
        Some(text)
    }
}

/// True after an odd number of backslashes.
fn is_escaped(text: &[u8], index: usize) -> bool {
    let backslashes = text[..index].iter().rev().take_while(|&&byte| byte == b'\\').count();
    backslashes % 2 == 1
}
