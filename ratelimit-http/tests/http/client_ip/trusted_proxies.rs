//! From the peer to the left, past all that are trusted, and not one entry further.

use std::fmt::Write;

use http::Request;
use ratelimit_http::{ClientIp, ClientIpBuilder, KeyError, UnixSocket};

use super::{PROXY, address, forwarded_for, listed, proxied, request};

const HEADERS: [&str; 6] = [
    "x-forwarded-for",
    "forwarded",
    "x-real-ip",
    "cf-connecting-ip",
    "x_forwarded_for",
    "true-client-ip",
];

// FAULTS 93.
#[test]
fn without_trusted_proxies_no_header_is_read() {
    for name in HEADERS {
        for n in 0..1_000 {
            let value = format!("{}192.0.2.{}", ["", "for="][n % 2], n % 250);
            let request = request("198.51.100.1", name, &[value]);
            assert_eq!(address(&ClientIp::peer(), &request), "198.51.100.1");
        }
    }
}

// FAULTS 94.
#[test]
fn a_peer_that_is_no_proxy_is_not_believed() {
    let request = request("198.51.100.1", "x-forwarded-for", &["192.0.2.1"]);
    assert_eq!(address(&listed(), &request), "198.51.100.1");
}

// FAULTS 95.
#[test]
fn the_first_untrusted_from_the_right_is_the_client() {
    assert_eq!(forwarded_for("203.0.113.66, 192.0.2.1"), "192.0.2.1");
    let lines = request(PROXY, "x-forwarded-for", &["203.0.113.66", "192.0.2.1,10.0.0.2"]);
    assert_eq!(address(&listed(), &lines), "192.0.2.1", "all lines are one list");
}

// FAULTS 96.
#[test]
fn trusted_proxies_are_passed_over() {
    assert_eq!(forwarded_for("192.0.2.1, 10.0.0.2"), "192.0.2.1");
    assert_eq!(forwarded_for("10.0.0.4, 10.0.0.3, 10.0.0.2"), "10.0.0.4", "an internal caller");
    assert_eq!(forwarded_for("192.0.2.1, ::ffff:10.0.0.2"), "192.0.2.1");
}

// FAULTS 97.
#[test]
fn whatever_a_client_puts_in_front_it_is_the_same_client() {
    let mut random = fastrand::Rng::with_seed(97);
    for _ in 0..200 {
        let length = random.usize(0..60);
        let garbage: Vec<u8> = (0..length).map(|_| random.u8(0x20..0x7f)).collect();
        let mut value = format!("203.0.113.{}, ", random.u8(..)).into_bytes();
        value.extend(garbage);
        value.extend_from_slice(b", 192.0.2.1, 10.0.0.2");
        assert_eq!(forwarded_for(value), "192.0.2.1");
    }
}

/// Text between quotes stays one element, whatever is escaped in it.
#[test]
fn a_comma_in_a_quoted_string_parts_nothing() {
    let forwarded = proxied(ClientIpBuilder::forwarded);
    for (value, client) in [
        (r#"for=192.0.2.7;by="a, for=203.0.113.66""#, "192.0.2.7"),
        (r#"for=192.0.2.7;by="a \" b, for=203.0.113.66 \" c""#, "192.0.2.7"),
        (r#"for=203.0.113.66;by="a\\", for=192.0.2.7"#, "192.0.2.7"),
        (r#"for=192.0.2.7;by="a\\\" b, for=203.0.113.66""#, "192.0.2.7"),
    ] {
        let request = request(PROXY, "forwarded", &[value]);
        assert_eq!(address(&forwarded, &request), client, "{value}");
    }
}

#[test]
fn an_entry_is_looked_at_up_to_64_characters() {
    for (length, client) in [(64, "192.0.2.7"), (65, PROXY), (66, PROXY), (1_000, PROXY)] {
        let entry = format!("192.0.2.7:_{}", "a".repeat(length - "192.0.2.7:_".len()));
        assert_eq!(forwarded_for(entry), client, "{length}");
    }
}

// FAULTS 100.
#[test]
fn an_empty_header_is_none() {
    for empty in ["", ",", ", ,", "  ", "\t", " \t,"] {
        assert_eq!(forwarded_for(empty), PROXY, "{empty:?}");
    }
}

// FAULTS 101, 103.
#[test]
fn garbage_ends_the_walk_and_nothing_left_of_it_counts() {
    for garbage in [
        "unknown",
        "_hid",
        "abc",
        "999.1.1.1",
        "1.2.3.4:99999",
        "1.2.3.4:",
        "1.2.3.4:+5",
        "1.2.3.4:_",
        "1.2.3.4:_a b",
        "[2001:db8::1",
        "2001:db8::1]",
        "[1.2.3.4]",
        "[2001:db8::1]443",
        "1.2.3.4:5:6",
        "1.2.3.4/8",
        "010.0.0.1",
        "0x7f.1",
        "16909060",
        "1.2.3",
        "127.1",
        "1.2.3.4 5",
        "\"1.2.3.4\"",
        "\u{661}.\u{662}.\u{663}.\u{664}",
    ] {
        let value = format!("192.0.2.1, {garbage}");
        assert_eq!(forwarded_for(&value), PROXY, "{value}");
        assert_eq!(forwarded_for(format!("{value}, 10.0.0.2")), "10.0.0.2", "the nearest");
    }
}

// FAULTS 102.
#[test]
fn ports_and_brackets_are_no_part_of_an_address() {
    for spelled in ["192.0.2.1:5678", "192.0.2.1", " 192.0.2.1\t"] {
        assert_eq!(forwarded_for(spelled), "192.0.2.1");
    }
    for spelled in ["[2001:db8::1]:443", "[2001:db8::1]", "2001:db8::1", "2001:DB8:0::1"] {
        assert_eq!(forwarded_for(spelled), "2001:db8::1");
    }
}

#[track_caller]
fn forwarded(value: impl AsRef<[u8]>) -> String {
    let client = proxied(ClientIpBuilder::forwarded);
    address(&client, &request(PROXY, "forwarded", &[value]))
}

// FAULTS 110.
#[test]
fn forwarded_is_walked_like_the_other_list() {
    let chain = r#"for=203.0.113.66, for=1.2.3.4;proto=https;by=10.0.0.9, for="[2001:db8::1]:80""#;
    assert_eq!(forwarded(chain), "2001:db8::1");
    assert_eq!(forwarded("for=1.2.3.4;proto=https;by=10.0.0.9, For=\"10.0.0.2\""), "1.2.3.4");
    assert_eq!(forwarded("proto=https ; FOR=\"1.2.3.4:_http\""), "1.2.3.4");
    assert_eq!(forwarded(r#"by="a,\";for=6.6.6.6",for=10.0.0.2, for=10.0.0.3"#), "10.0.0.2");
    assert_eq!(forwarded(r#"for=192.0.2.1, for=10.0.0.2;by="a, b;for=6.6.6.6""#), "192.0.2.1");
    for garbage in [
        "for=unknown",
        "for=_hid",
        "proto=https",
        "for=1.2.3.4;for=1.2.3.5",
        "for =1.2.3.4",
        "for=\"1.2.3.4",
        "for=1.2.3.4\"",
        "for=\"1.2.3\\.4\"",
        "1.2.3.4",
        "xfor=1.2.3.4",
    ] {
        assert_eq!(forwarded(format!("for=192.0.2.1, {garbage}")), PROXY, "{garbage}");
    }
}

#[test]
fn a_quote_that_a_client_leaves_open_hides_nobody() {
    for open in ["for=\"6.6.6.6", "\"", "by=\"\\", "for=6.6.6.6;x=\"\\\\\\"] {
        assert_eq!(forwarded(format!("{open}, for=192.0.2.1, for=10.0.0.2")), "192.0.2.1");
    }
}

// FAULTS 113.
#[test]
fn only_the_header_that_is_named_is_read() {
    let mut both = request(PROXY, "forwarded", &["for=192.0.2.1"]);
    both.headers.insert("x-forwarded-for", "192.0.2.2".parse().expect("value is valid"));
    assert_eq!(address(&proxied(ClientIpBuilder::forwarded), &both), "192.0.2.1");
    assert_eq!(address(&listed(), &both), "192.0.2.2");
}

// FAULTS 114.
#[test]
fn another_spelling_of_the_name_is_another_header() {
    let request = |name| request(PROXY, name, &["192.0.2.1"]);
    assert_eq!(address(&listed(), &request("X_Forwarded_For")), PROXY);
    assert_eq!(address(&listed(), &request("X-FORWARDED-For")), "192.0.2.1", "no case");
    assert_eq!(forwarded_for(b"192.0.2.1, 192.0.2.\xb2"), PROXY, "8-bit bytes");
}

// FAULTS 115.
#[test]
fn thirty_two_entries_are_looked_at() {
    let chain = |proxies| {
        let mut value = "192.0.2.1".to_owned();
        for _ in 0..proxies {
            write!(value, ",10.0.0.2").expect("a string has room");
        }
        forwarded_for(value)
    };
    assert_eq!(chain(31), "192.0.2.1");
    assert_eq!(chain(32), "10.0.0.2");
    assert_eq!(chain(100_000), "10.0.0.2");
    assert_eq!(forwarded_for("x".repeat(60 << 10)), PROXY);
}

// FAULTS 116.
#[test]
fn a_header_that_was_stripped_leaves_the_peer() {
    let mut request = request(PROXY, "connection", &["X-Forwarded-For"]);
    assert_eq!(address(&listed(), &request), PROXY);
    request.headers.insert("x-forwarded-for", "192.0.2.1".parse().expect("value is valid"));
    assert_eq!(address(&listed(), &request), "192.0.2.1");
}

#[test]
fn a_number_of_hops_is_walked_and_no_more() {
    let hops = |hops| ClientIp::builder().x_forwarded_for().trusted_hops(hops).build();
    let chain = request("198.51.100.1", "x-forwarded-for", &["1.1.1.1, 2.2.2.2, 3.3.3.3"]);
    for (count, expected) in [(1, "3.3.3.3"), (2, "2.2.2.2"), (3, "1.1.1.1")] {
        assert_eq!(address(&hops(count).expect("one way"), &chain), expected);
    }
}

// FAULTS 224.
#[test]
fn fewer_entries_than_hops_are_nobodys_word() {
    for header in ["x-forwarded-for", "forwarded"] {
        let list = |lines: &[&str]| match header {
            "forwarded" => lines.iter().map(|line| format!("for={line}")).collect::<Vec<_>>(),
            _ => lines.iter().map(|&line| line.to_owned()).collect(),
        };
        let builder = ClientIp::builder().trusted_hops(3);
        let builder =
            if header == "forwarded" { builder.forwarded() } else { builder.x_forwarded_for() };
        let client = builder.build().expect("one way");
        let told =
            |lines: &[&str]| address(&client, &request("198.51.100.1", header, &list(lines)));
        assert_eq!(told(&["1.1.1.1", "2.2.2.2", "3.3.3.3"]), "1.1.1.1");
        assert_eq!(told(&["9.9.9.9", "1.1.1.1", "2.2.2.2", "3.3.3.3"]), "1.1.1.1");
        for short in [&["6.6.6.6", "3.3.3.3"][..], &["6.6.6.6"], &[]] {
            assert_eq!(told(short), "198.51.100.1", "{short:?}");
        }
    }
    let single = ClientIp::builder().single("x-real-ip").trusted_hops(2).build().expect("one way");
    assert_eq!(address(&single, &request(PROXY, "x-real-ip", &["192.0.2.1"])), "192.0.2.1");
}

// FAULTS 224.
#[test]
fn empty_elements_are_skipped() {
    let x = "x-forwarded-for";
    for lines in [
        &["203.0.113.9, "][..],
        &["203.0.113.9,"],
        &["203.0.113.9, , 10.0.0.4"],
        &["203.0.113.9,,,\t,10.0.0.4, ,"],
        &["203.0.113.9", ""],
        &["203.0.113.9", "", " ", ",,", "10.0.0.4", ","],
        &[",203.0.113.9"],
        &["6.6.6.6, 203.0.113.9,, 10.0.0.4 ,"],
    ] {
        assert_eq!(address(&listed(), &request(PROXY, x, lines)), "203.0.113.9", "{lines:?}");
    }
    let client = proxied(ClientIpBuilder::forwarded);
    for lines in [
        &["for=203.0.113.9, ,for=10.0.0.4"][..],
        &["for=203.0.113.9,"],
        &["for=203.0.113.9", "", "for=10.0.0.4, "],
        &["for=6.6.6.6,for=203.0.113.9;by=\"a, b\",,"],
        &[",, for=\"203.0.113.9:80\" ,,"],
    ] {
        let told = address(&client, &request(PROXY, "forwarded", lines));
        assert_eq!(told, "203.0.113.9", "{lines:?}");
    }
    let hops = ClientIp::builder().x_forwarded_for().trusted_hops(2).build().expect("one way");
    assert_eq!(address(&hops, &request(PROXY, x, &["203.0.113.9, , 10.0.0.4,"])), "203.0.113.9");
}

// FAULTS 224.
#[test]
fn the_left_of_a_long_header_is_not_read() {
    for junk in [",", "x", "10.0.0.2,", "\"", "\\\"", "for=\"", " "] {
        let line = junk.repeat((60 << 10) / junk.len());
        for (end, client) in [(", 192.0.2.1, 10.0.0.2", "192.0.2.1"), (", 10.0.0.2", "10.0.0.2")] {
            assert_eq!(forwarded_for(format!("192.0.2.7, {line}{end}")), client, "{junk}");
        }
    }
    let lines = [vec!["192.0.2.7"], vec![""; 10_000], vec!["10.0.0.2"]].concat();
    assert_eq!(address(&listed(), &request(PROXY, "x-forwarded-for", &lines)), "10.0.0.2");
}

#[test]
fn a_single_address_is_believed_once_and_of_a_proxy() {
    let client = proxied(|builder| builder.single("CF-Connecting-IP"));
    let told = |peer, lines: &[&str]| address(&client, &request(peer, "cf-connecting-ip", lines));
    assert_eq!(told(PROXY, &["192.0.2.1"]), "192.0.2.1");
    assert_eq!(told(PROXY, &["10.0.0.2"]), "10.0.0.2");
    assert_eq!(told("198.51.100.1", &["192.0.2.1"]), "198.51.100.1");
    for unclear in [&["192.0.2.1", "192.0.2.1"][..], &["192.0.2.1, 192.0.2.2"], &[""], &[]] {
        assert_eq!(told(PROXY, unclear), PROXY);
    }
}

// FAULTS 79.
#[test]
fn a_unix_socket_has_no_address_but_may_tell_of_one() {
    let head = |value: &str| {
        let request = Request::get("/").extension(UnixSocket).header("x-forwarded-for", value);
        request.body(()).expect("request is valid").into_parts().0
    };
    let trusting = ClientIp::builder().x_forwarded_for().trusted_unix_socket().build();
    let trusting = trusting.expect("description is complete");
    assert_eq!(address(&trusting, &head("6.6.6.6, 192.0.2.1")), "192.0.2.1");
    assert!(matches!(trusting.address(&head("unknown")), Err(KeyError::NoPeer)));
    for deaf in [ClientIp::peer(), listed()] {
        assert!(matches!(deaf.address(&head("192.0.2.1")), Err(KeyError::NoPeer)));
    }
    let nowhere = Request::get("/").header("x-forwarded-for", "192.0.2.1").body(());
    let nowhere = nowhere.expect("request is valid").into_parts().0;
    assert!(matches!(trusting.address(&nowhere), Err(KeyError::NoPeer)));
}
