//! Addresses that are one client's.

use std::collections::HashSet;

use ratelimit_http::{ClientIp, RequestKey};

use super::{address, forwarded_for, key_of, request};

fn with_prefix(bits: u8) -> ClientIp {
    ClientIp::builder().ipv6_prefix(bits).build().expect("prefix is fine")
}

fn keys(client: &ClientIp, addresses: impl Iterator<Item = String>) -> HashSet<RequestKey> {
    addresses.map(|address| key_of(client, &address)).collect()
}

// FAULTS 105.
#[test]
fn ipv4_addresses_in_ipv6_are_clients_of_their_own() {
    for client in [with_prefix(32), with_prefix(56), with_prefix(64), with_prefix(128)] {
        let mapped = (0..1_000).map(|n| format!("::ffff:192.0.{}.{}", n / 250, n % 250));
        assert_eq!(keys(&client, mapped).len(), 1_000);
        let plain = key_of(&client, "192.0.2.7");
        assert_eq!(key_of(&client, "::ffff:192.0.2.7"), plain);
        assert_eq!(key_of(&client, "::ffff:c000:207"), plain);
        assert_eq!(key_of(&client, "64:ff9b::192.0.2.7"), plain, "NAT64");
        assert_eq!(key_of(&client, "::ffff:0:192.0.2.7"), plain, "SIIT");
        assert_ne!(key_of(&client, "64:ff9b:2::192.0.2.7"), plain, "nobody's NAT64");
        assert_ne!(key_of(&client, "::192.0.2.7"), plain, "deprecated");
    }
}

// FAULTS 224.
#[test]
fn a_local_nat64_is_its_ipv4_addresses_whatever_its_prefix() {
    for client in [with_prefix(32), with_prefix(64), with_prefix(128)] {
        let plain = key_of(&client, "192.0.2.7");
        for spelled in [
            "64:ff9b:1::192.0.2.7",
            "64:ff9b:1:fffe::192.0.2.7",
            "64:ff9b:1:abcd:0:1234:192.0.2.7",
            "64:ff9b:1:c000:2:700::",
            "64:ff9b:1:abc0:0:207::",
            "64:ff9b:1:abcd:c0:2:700::",
        ] {
            assert_eq!(key_of(&client, spelled), plain, "{spelled}");
            assert_eq!(forwarded_for(spelled), "192.0.2.7", "{spelled}");
        }
        let clients = (0..1_000).map(|n| format!("64:ff9b:1::192.0.{}.{}", n / 250, n % 250));
        assert_eq!(keys(&client, clients).len(), 1_000);
        let other = "64:ff9b:1:0:ff00::192.0.2.7";
        assert_ne!(key_of(&client, other), plain, "no translator writes that");
    }
}

// FAULTS 224.
#[test]
fn a_trusted_network_of_translated_addresses_is_its_ipv4_network() {
    for network in [
        "::ffff:10.0.0.0/104",
        "64:ff9b::10.0.0.0/104",
        "64:ff9b:1::10.0.0.0/104",
        "::ffff:0:a00:0/104",
    ] {
        let builder = ClientIp::builder().x_forwarded_for().trusted_proxies([network]);
        let client = builder.build().expect("description is complete");
        let request = request(super::PROXY, "x-forwarded-for", &["192.0.2.1, 10.0.0.2"]);
        assert_eq!(address(&client, &request), "192.0.2.1", "{network}");
    }
}

// FAULTS 107.
#[test]
fn neighbours_in_one_64_are_one_client() {
    let client = ClientIp::peer();
    let neighbours = (0..10_000).map(|n| format!("2001:db8:0:1::{n:x}"));
    assert_eq!(keys(&client, neighbours).len(), 1);
    let spellings = ["2001:DB8::1", "2001:db8:0:0:0:0:0:1", "2001:0db8:0000:0000::0001"];
    assert_eq!(keys(&client, spellings.map(str::to_owned).into_iter()).len(), 1);
    assert_ne!(key_of(&client, "2001:db8:0:1::1"), key_of(&client, "2001:db8:0:2::1"));
}

#[test]
fn a_second_tier_counts_a_whole_site() {
    let site = with_prefix(48);
    let networks = (0..1_000).map(|n| format!("2001:db8:0:{n:x}::1"));
    assert_eq!(keys(&site, networks).len(), 1);
    assert_ne!(key_of(&site, "2001:db8:0::1"), key_of(&site, "2001:db8:1::1"));
    let exact = with_prefix(128);
    assert_ne!(key_of(&exact, "2001:db8::1"), key_of(&exact, "2001:db8::2"));
}

// FAULTS 109.
#[test]
fn special_addresses_follow_a_stated_rule() {
    let client = ClientIp::peer();
    let same = |a, b| key_of(&client, a) == key_of(&client, b);
    assert!(same("2002:c000:207:1::1", "2002:c000:207:ffff::1"), "6to4: one IPv4 address");
    assert!(!same("2002:c000:207::1", "2002:c000:208::1"), "6to4: another one");
    assert!(same("2001:0:4136:e378::1", "2001:0:4136:e378:ffff::"), "Teredo: by prefix");
    assert!(same("fe80::1", "fe80::2"), "link-local: by prefix");
    assert!(same("::1", "::"), "loopback: by prefix");
    assert!(!same("::1", "127.0.0.1"));
    // Nobody can be at these addresses, and a zone means nothing elsewhere.
    for nobody in ["::", "0.0.0.0", "::ffff:0.0.0.0", "ff02::1", "224.0.0.1", "fe80::1%eth0"] {
        assert_eq!(forwarded_for(format!("evil, {nobody}")), super::PROXY, "{nobody}");
    }
    assert_eq!(forwarded_for("::1"), "::1");
}
