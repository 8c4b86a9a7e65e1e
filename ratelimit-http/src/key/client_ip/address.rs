//! Which addresses are the same client's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv4 address that was written as an IPv6 one is the IPv4 address.
///
/// By its bits, and before any prefix is cut: all of IPv4 lies in one /64 otherwise.
pub(crate) fn canonical(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    match v6.octets() {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
        | [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] => {
            Ipv4Addr::new(a, b, c, d).into()
        }
        _ => address,
    }
}

/// The first address of the network that counts as one client.
pub(super) fn network(address: IpAddr, ipv6_prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => {
            let is_6to4 = v6.segments()[0] == 0x2002;
            let prefix = if is_6to4 { ipv6_prefix.min(SITE_6TO4) } else { ipv6_prefix };
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or_default();
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

/// One IPv4 address owns this much of 6to4.
const SITE_6TO4: u8 = 48;
