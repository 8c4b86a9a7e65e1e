//! Configurations that are refused, because they would be ambiguous or unsafe.

use ratelimit_http::{ClientIp, ClientIpBuilder, ClientIpError};

#[track_caller]
fn refused(builder: ClientIpBuilder) -> ClientIpError {
    builder.build().expect_err("description is refused")
}

// FAULTS 12.
#[test]
fn networks_are_networks_and_none_is_everybody() {
    let trusting = |text| ClientIp::builder().x_forwarded_for().trusted_proxies([text]);
    for bad in ["10.0.0.0/33", "10.0.0.5/8", "", "10.0.0.0/", "/8", "2001:db8::1/64", "proxy"] {
        let error = refused(trusting(bad));
        assert_eq!(error, ClientIpError::BadNetwork { text: bad.into() });
    }
    for all in ["::/0", "0.0.0.0/0", "::ffff:0:0/96"] {
        assert_eq!(refused(trusting(all)), ClientIpError::TrustsEverybody, "{all}");
    }
    for good in ["10.0.0.5", "10.0.0.0/8", "2001:db8::/32", "::1", "::ffff:10.0.0.0/104"] {
        assert!(trusting(good).build().is_ok(), "{good}");
    }
    let nobody = ClientIp::builder().x_forwarded_for().trusted_proxies([""; 0]);
    assert_eq!(refused(nobody), ClientIpError::NoProxies);
    let everybody = ClientIp::builder().x_forwarded_for().dangerously_trust_everybody();
    assert!(everybody.build().is_ok());
}

// FAULTS 13.
#[test]
fn an_ipv6_prefix_has_32_to_128_bits() {
    for bits in [0, 31, 129, 255] {
        let error = refused(ClientIp::builder().ipv6_prefix(bits));
        assert_eq!(error, ClientIpError::BadPrefix { bits });
    }
    for bits in [32, 48, 56, 64, 128] {
        assert!(ClientIp::builder().ipv6_prefix(bits).build().is_ok());
    }
    let default = ClientIp::builder().build();
    assert_eq!(default, ClientIp::builder().ipv6_prefix(64).build());
    assert_eq!(default, Ok(ClientIp::peer()));
}

// FAULTS 14.
#[test]
fn a_client_is_found_in_one_way() {
    let list = || ClientIp::builder().x_forwarded_for();
    for builder in [
        list().trusted_hops(1).trusted_proxies(["10.0.0.0/8"]),
        list().trusted_hops(1).trusted_unix_socket(),
        list().trusted_hops(1).dangerously_trust_everybody(),
        list().forwarded().trusted_hops(1),
        list().single("x-real-ip").trusted_hops(1),
        list().x_forwarded_for().trusted_hops(1),
    ] {
        assert_eq!(refused(builder), ClientIpError::Ambiguous);
    }
}

#[test]
fn a_header_needs_somebody_to_believe_and_the_other_way_round() {
    assert_eq!(refused(ClientIp::builder().forwarded()), ClientIpError::NoProxies);
    let nobody = ClientIp::builder().forwarded().trusted_hops(0);
    assert_eq!(refused(nobody), ClientIpError::NoProxies);
    let headless = ClientIp::builder().trusted_proxies(["10.0.0.0/8"]);
    assert_eq!(refused(headless), ClientIpError::NoHeader);
    assert!(ClientIp::builder().build().is_ok(), "the peer");
}

#[test]
fn a_list_is_no_header_of_a_single_address() {
    for name in ["Forwarded", "X-Forwarded-For", "x forwarded", ""] {
        let builder = ClientIp::builder().single(name).trusted_hops(1);
        assert_eq!(refused(builder), ClientIpError::BadHeader, "{name}");
    }
}
