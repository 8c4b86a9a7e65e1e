//! Whoever sends a long header makes nobody allocate for it.

use std::net::SocketAddr;

use http::{Request, request::Parts};
use ratelimit_http::{ClientIp, ClientIpBuilder, KeyFn, Peer};

/// A client behind proxies in 10.0.0.0/8, as `header` tells of it.
fn proxied(header: fn(ClientIpBuilder) -> ClientIpBuilder) -> ClientIp {
    let builder = header(ClientIp::builder()).trusted_proxies(["10.0.0.0/8"]);
    builder.build().expect("description is complete")
}

fn from_proxy(name: &str, value: &str) -> Parts {
    let proxy = Peer(SocketAddr::from(([10, 0, 0, 1], 443)));
    let request = Request::get("/").extension(proxy).header(name, value);
    request.body(()).expect("request is valid").into_parts().0
}

/// The number of allocations while the key of a request is found.
fn allocations(client: &ClientIp, request: &Parts) -> u64 {
    let mut key = None;
    let counted = allocation_counter::measure(|| key = Some(client.key(request)));
    assert!(key.is_some_and(|key| key.is_ok()));
    counted.count_total
}

// FAULTS 115.
#[test]
fn no_entry_of_a_list_of_addresses_allocates() {
    let listed = proxied(ClientIpBuilder::x_forwarded_for);
    let forwarded = proxied(ClientIpBuilder::forwarded);
    for entries in [1, 31, 32, 100_000] {
        let list = vec!["10.0.0.2"; entries].join(", ");
        assert_eq!(allocations(&listed, &from_proxy("x-forwarded-for", &list)), 0, "{entries}");
        let list = vec![r#"For="10.0.0.2:80";proto=https;by="a, b""#; entries].join(", ");
        assert_eq!(allocations(&forwarded, &from_proxy("forwarded", &list)), 0, "{entries}");
    }
    for garbage in ["x".repeat(60 << 10), ",".repeat(60 << 10), "\"".repeat(60 << 10)] {
        assert_eq!(allocations(&listed, &from_proxy("x-forwarded-for", &garbage)), 0);
        assert_eq!(allocations(&forwarded, &from_proxy("forwarded", &garbage)), 0);
    }
}
