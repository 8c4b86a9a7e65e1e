//! The client of a request: for any headers, the parsers agree with the models.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderValue, Request, request::Parts};
use ratelimit_http::{ApiKey, ClientIp, ClientIpBuilder, KeyFn, Peer};

use crate::clients_model as model;

/// Takes each line of the bytes for one of the header.
pub fn x_forwarded_for(data: &[u8]) {
    agree("x-forwarded-for", ClientIpBuilder::x_forwarded_for, model::listed, data);
}

/// Takes each line of the bytes for one of the header.
pub fn forwarded(data: &[u8]) {
    agree("forwarded", ClientIpBuilder::forwarded, model::forwarded, data);
}

fn agree(
    name: &'static str,
    header: fn(ClientIpBuilder) -> ClientIpBuilder,
    model: fn(&[String]) -> Vec<Option<IpAddr>>,
    data: &[u8],
) {
    // The model takes the cube of a line's length.
    let Some(request) = request(name, &data[..data.len().min(LENGTH_MAX)]) else { return };
    let client = header(ClientIp::builder()).trusted_proxies(["10.0.0.0/8"]).build();
    let found = client.expect("the description is whole").address(&request);
    let found = found.expect("the peer is known");
    let lines = request.headers.get_all(name).iter();
    let lines = lines.map(|line| line.to_str().map(str::to_owned)).collect::<Result<Vec<_>, _>>();
    if let Ok(lines) = lines {
        assert_eq!(found, model::client(PEER, &model(&lines)), "{lines:?}");
    }
}

/// Takes each line of the bytes for one of the header that a credential is looked for in.
pub fn api_key(data: &[u8]) {
    let finders = [
        ("x-api-key", ApiKey::header("x-api-key")),
        ("authorization", ApiKey::bearer()),
        ("cookie", ApiKey::cookie("session")),
    ];
    for (name, finder) in finders {
        let Some(request) = request(name, data) else { return };
        let found = finder.key(&request).ok();
        assert_eq!(found, finder.key(&request).ok(), "the same request has the same key");
        assert!(found.is_none() || request.headers.contains_key(name), "it is found somewhere");
        if let ("x-api-key", Some(key)) = (name, found) {
            let longer = [request.headers[name].as_bytes(), b"x"].concat();
            let longer = self::request(name, &longer).expect("it is still a header");
            let longer = finder.key(&longer).expect("it has one");
            assert_ne!(key, longer, "another credential is another key");
        }
    }
}

/// A request with a line of the header for each of the data; `None` where these can be in no header.
fn request(name: &'static str, data: &[u8]) -> Option<Parts> {
    let mut request = Request::new(()).into_parts().0;
    request.extensions.insert(Peer((PEER, 443).into()));
    for line in data.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        request.headers.append(name, HeaderValue::from_bytes(line).ok()?);
    }
    Some(request)
}

/// A trusted proxy.
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

const LENGTH_MAX: usize = 300;
