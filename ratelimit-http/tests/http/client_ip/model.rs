//! The rules again, slowly: everything is split first, from the left, and then looked at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Whom a request is from that `peer` forwards; 10.0.0.0/8 is trusted.
pub(crate) fn client(peer: IpAddr, entries: &[Option<IpAddr>]) -> IpAddr {
    let mut chain: Vec<Option<IpAddr>> = entries.to_vec();
    chain.push(Some(peer));
    chain.reverse();
    let known: Vec<IpAddr> = chain.iter().map_while(|entry| entry.map(plain)).take(33).collect();
    let stranger = known.iter().find(|address| !is_trusted(**address));
    *stranger.or_else(|| known.last()).expect("the peer is known")
}

fn is_trusted(address: IpAddr) -> bool {
    address.to_string().starts_with("10.")
}

pub(crate) fn listed(lines: &[String]) -> Vec<Option<IpAddr>> {
    let entries = lines.iter().flat_map(|line| line.split(','));
    entries.filter(|text| !is_blank(text)).map(entry).collect()
}

/// A comma ends an element if the quotes to the right of it, in its line, come in pairs.
pub(crate) fn forwarded(lines: &[String]) -> Vec<Option<IpAddr>> {
    let elements = lines.iter().flat_map(|line| pieces(line, ','));
    elements.filter(|text| !is_blank(text)).map(|element| element_of(&element)).collect()
}

fn is_blank(text: &str) -> bool {
    text.trim_matches([' ', '\t']).is_empty()
}

fn element_of(element: &str) -> Option<IpAddr> {
    let pairs: Vec<String> = pieces(element, ';').iter().map(|pair| pair.trim().into()).collect();
    let nodes: Vec<&String> =
        pairs.iter().filter(|pair| pair.to_lowercase().starts_with("for=")).collect();
    let [node] = nodes[..] else { return None };
    let node = &node[4..];
    let quoted = node.len() >= 2 && node.starts_with('"') && node.ends_with('"');
    if !quoted {
        return entry(node);
    }
    let inner = &node[1..node.len() - 1];
    if inner.contains('\\') { None } else { entry(inner) }
}

fn pieces(text: &str, separator: char) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for (index, letter) in text.char_indices() {
        let right: Vec<char> = text[index..].chars().collect();
        let is_quote = |place: usize| {
            let before = text[..index + place].chars().rev();
            right[place] == '"' && before.take_while(|&letter| letter == '\\').count() % 2 == 0
        };
        let quotes = (1..right.len()).filter(|&place| is_quote(place)).count();
        if letter == separator && quotes % 2 == 0 {
            pieces.push(String::new());
        } else if let Some(piece) = pieces.last_mut() {
            piece.push(letter);
        }
    }
    pieces
}

fn entry(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches([' ', '\t']);
    if 64 < text.len() {
        return None;
    }
    // A made up name of a port is as good as any port.
    let (address, name) = text.rsplit_once(":_").unwrap_or((text, "x"));
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
        return None;
    }
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = match (address.parse::<SocketAddr>(), bare) {
        (Ok(socket), _) if text == address => Some(socket.ip()),
        (_, Some(v6)) => v6.parse::<Ipv6Addr>().ok().map(IpAddr::from),
        (_, None) if text == address => address.parse::<IpAddr>().ok(),
        (_, None) => address.parse::<Ipv4Addr>().ok().map(IpAddr::from),
    };
    address.map(plain).filter(|address| !address.is_unspecified() && !address.is_multicast())
}

/// As IPv4 where it is.
fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let last = |a: u16, b: u16| Ipv4Addr::from_bits(u32::from(a) << 16 | u32::from(b)).into();
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, a, b]
        | [0, 0, 0, 0, 0xffff, 0, a, b]
        | [0x64, 0xff9b, 0, 0, 0, 0, a, b] => last(a, b),
        // Other prefixes of a local NAT64 are not among the pieces.
        [0x64, 0xff9b, 1, 0, 0, 0, a, b] if b & 0xff != 0 => last(a, b),
        _ => address,
    }
}
