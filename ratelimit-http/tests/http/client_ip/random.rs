//! The parsers against the model: nothing that is sent makes them disagree, or panic.

use std::net::IpAddr;

use proptest::prelude::*;
use ratelimit_http::{ClientIp, ClientIpBuilder};

use super::{PROXY, address, listed, model, proxied, request};

/// Addresses, spellings of them, and what stands around them.
const PIECES: [&str; 42] = [
    "1.2.3.4",
    "10.0.0.2",
    "10.1.2.3",
    "::ffff:10.0.0.9",
    "64:ff9b::10.0.0.9",
    "64:ff9b:1::10.0.0.9",
    "::ffff:0:10.0.0.9",
    ", , ,",
    "2001:db8::1",
    "[2001:db8::1]",
    "[::1]:80",
    "1.2.3.4:80",
    "0.0.0.0",
    "::",
    "ff02::1",
    "unknown",
    "_hid",
    "010.0.0.1",
    "::ffff:0.0.0.0",
    "for=",
    "For=",
    "by=",
    "proto=https",
    "\"",
    "\"",
    "\\",
    ";",
    ";",
    ",",
    ",",
    ", ",
    ",",
    " ",
    "\t",
    ":",
    ":_x",
    ":99999",
    "=",
    "for=10.0.0.7",
    ";by=\"a, b\"",
    ";by=\"a;for=6.6.6.6\"",
    "for=\"[2001:db8::9]:1\"",
];

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::collection::vec(prop::sample::select(&PIECES[..]), 0..16).prop_map(|v| v.concat()),
        1 => "[ -~\t]{0,80}",
    ]
}

fn lines() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(line(), 0..4)
}

fn told(client: &ClientIp, name: &str, lines: &[impl AsRef<[u8]>]) -> String {
    address(client, &request(PROXY, name, lines))
}

fn peer() -> IpAddr {
    PROXY.parse().expect("proxy has an address")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    // FAULTS 201.
    #[test]
    fn x_forwarded_for_agrees_with_the_model(lines in lines()) {
        let expected = model::client(peer(), &model::listed(&lines));
        prop_assert_eq!(told(&listed(), "x-forwarded-for", &lines), expected.to_string());
    }

    // FAULTS 201.
    #[test]
    fn forwarded_agrees_with_the_model(lines in lines()) {
        let expected = model::client(peer(), &model::forwarded(&lines));
        let client = proxied(ClientIpBuilder::forwarded);
        prop_assert_eq!(told(&client, "forwarded", &lines), expected.to_string());
    }

    /// Any bytes that a header can hold, in front of what the proxies have written.
    #[test]
    fn no_bytes_in_front_change_the_client(bytes in prop::collection::vec(0x20..=0xff_u8, 0..200)) {
        let bytes: Vec<u8> = bytes.into_iter().filter(|&byte| byte != 0x7f).collect();
        let with = |end: &[u8]| [&bytes[..], end].concat();
        let list = with(b", 192.0.2.1, 10.0.0.2");
        prop_assert_eq!(told(&listed(), "x-forwarded-for", &[list]), "192.0.2.1");
        let client = proxied(ClientIpBuilder::forwarded);
        let elements = with(b", for=192.0.2.1;by=_x, for=\"10.0.0.2:80\"");
        prop_assert_eq!(told(&client, "forwarded", &[elements]), "192.0.2.1");
    }
}
