//! Elements of `X-Forwarded-For` and `Forwarded` (RFC 7239), read from the right.
//!
//! From the right, because a client that leaves a quote open would otherwise have the proxies'
//! own elements taken for the rest of its text. And not far, because the left is the client's: a
//! header of any size costs no more than its last few kilobytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, HeaderName, HeaderValue, header::FORWARDED};

use super::request_key::canonical;

/// The addresses in `X-Forwarded-For` or the like, from the last one to the first; `None` is for an
/// element that is none.
pub(super) fn listed(
    headers: &HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = Option<IpAddr>> {
    let last_comma = |text: &[u8]| text.iter().rposition(|&byte| byte == b',');
    elements(headers, name, last_comma).map(|element| address(element?))
}

/// The addresses in `Forwarded`, from the last one to the first; `None` is for an element without
/// one.
pub(super) fn forwarded(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    let last_comma = |text: &[u8]| last_unquoted(text, b',');
    elements(headers, &FORWARDED, last_comma).map(|element| for_address(element?))
}

fn elements<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    last_comma: fn(&[u8]) -> Option<usize>,
) -> Elements<'a, impl Iterator<Item = &'a HeaderValue>> {
    let lines = headers.get_all(name).iter().rev();
    Elements { lines, line: None, last_comma, bytes_left: BYTES_MAX }
}

/// The elements of a list, from the last line to the first and from right to left. `None` is for
/// one too far to the left; nothing beyond it is read.
struct Elements<'a, L> {
    lines: L,
    /// The part of the current line that is not read yet.
    line: Option<&'a [u8]>,
    /// Finds the last comma that separates elements.
    last_comma: fn(&[u8]) -> Option<usize>,
    bytes_left: usize,
}

/// Enough for 32 elements of 128 bytes each.
const BYTES_MAX: usize = 32 * 128;

impl<'a, L: Iterator<Item = &'a HeaderValue>> Iterator for Elements<'a, L> {
    type Item = Option<&'a [u8]>;

    /// Skips empty elements, as RFC 9110 (5.6.1.2) asks of a recipient.
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let line = match self.line.take() {
                Some(line) => line,
                None => self.lines.next()?.as_bytes(),
            };
            let (far, near) = line.split_at(line.len().saturating_sub(self.bytes_left));
            let (rest, element) = match (self.last_comma)(near) {
                Some(comma) => (Some(&line[..far.len() + comma]), &near[comma + 1..]),
                None => (None, near),
            };
            // The end of a line counts as the comma that it stands for.
            let bytes_left = self.bytes_left.checked_sub(element.len() + 1);
            let is_cut = rest.is_none() && !far.is_empty();
            let (Some(bytes_left), false) = (bytes_left, is_cut) else {
                self.bytes_left = 0;
                return Some(None);
            };
            (self.line, self.bytes_left) = (rest, bytes_left);
            if !element.trim_ascii().is_empty() {
                return Some(Some(element));
            }
        }
    }
}

/// The address in one element of `X-Forwarded-For`: with or without a port, IPv6 with or without
/// brackets, spaces around it. `None` for anything else.
pub(super) fn address(entry: &[u8]) -> Option<IpAddr> {
    let entry = entry.trim_ascii();
    if TEXT_MAX < entry.len() {
        return None;
    }
    let entry = std::str::from_utf8(entry).ok()?;
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
fn for_address(element: &[u8]) -> Option<IpAddr> {
    let mut found = None;
    let mut rest = Some(element);
    while let Some(pairs) = rest {
        let semicolon = last_unquoted(pairs, b';');
        rest = semicolon.map(|end| &pairs[..end]);
        let Some(node) = node_of(&pairs[semicolon.map_or(0, |end| end + 1)..]) else { continue };
        if found.replace(node).is_some() {
            return None;
        }
    }
    address(unquoted(found?)?)
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

/// The place of the last separator that is not quoted.
fn last_unquoted(text: &[u8], separator: u8) -> Option<usize> {
    let mut is_quoted = false;
    for (index, &byte) in text.iter().enumerate().rev() {
        if byte == b'"' && !is_escaped(text, index) {
            is_quoted = !is_quoted;
        } else if byte == separator && !is_quoted {
            return Some(index);
        }
    }
    None
}

/// True after an odd number of backslashes.
fn is_escaped(text: &[u8], index: usize) -> bool {
    let backslashes = text[..index].iter().rev().take_while(|&&byte| byte == b'\\').count();
    backslashes % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_read(lines: &[&[u8]], last_comma: fn(&[u8]) -> Option<usize>) -> usize {
        let lines: Vec<_> = lines.iter().map(|line| HeaderValue::from_bytes(line)).collect();
        let lines: Vec<_> = lines.into_iter().map(|line| line.expect("line is valid")).collect();
        let mut elements =
            Elements { lines: lines.iter().rev(), line: None, last_comma, bytes_left: BYTES_MAX };
        elements.by_ref().take_while(Option::is_some).for_each(drop);
        BYTES_MAX - elements.bytes_left
    }

    // FAULTS 224.
    #[test]
    fn no_more_than_the_last_bytes_of_a_header_are_read() {
        let comma: fn(&[u8]) -> Option<usize> = |text| text.iter().rposition(|&byte| byte == b',');
        let unquoted: fn(&[u8]) -> Option<usize> = |text| last_unquoted(text, b',');
        for find in [comma, unquoted] {
            for piece in [",", "x", " ", "\"", "\\\"", "for=\"", "10.0.0.2,", "\\", ", "] {
                let line = piece.repeat((60 << 10) / piece.len());
                assert_eq!(bytes_read(&[line.as_bytes()], find), BYTES_MAX, "{piece}");
            }
            let lines = vec![&b""[..]; 10_000];
            assert_eq!(bytes_read(&lines, find), BYTES_MAX, "every line counts");
            assert_eq!(bytes_read(&[b"10.0.0.2, 10.0.0.3", b""], find), 20);
        }
    }
}
