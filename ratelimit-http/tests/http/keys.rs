//! Keys that are the same, and keys that are not.

use std::{net::IpAddr, time::Duration};

use axum::body::Body;
use http::{Request, request::Parts};
use ratelimit_algorithms::{FixedWindow, Limiter, Tier, Tiers};
use ratelimit_http::{
    ApiKey, AsyncKeyFn, ClientIp, Extension, KeyError, KeyFn, MethodName, Peer, PeerAddr,
    RateLimitLayer, RequestKey, TargetHost,
};
use ratelimit_resilience::Lists;

use crate::support::{app, from, request, status, store};

const ALICE: &[u8] = b"\x31\xffalice\x80";

fn head(request: http::request::Builder) -> Parts {
    request.body(()).expect("request is valid").into_parts().0
}

fn with_header(name: &str, value: &[u8]) -> Parts {
    head(Request::get("/").header(name, value))
}

fn at(peer: &str) -> Parts {
    head(Request::get("/").extension(Peer(peer.parse().expect("peer is an address"))))
}

#[track_caller]
fn key(function: &impl KeyFn, request: &Parts) -> RequestKey {
    function.key(request).expect("request has a key")
}

#[track_caller]
fn all_differ(keys: &[RequestKey]) {
    for (index, one) in keys.iter().enumerate() {
        assert!(!keys[..index].contains(one), "number {index} is new");
    }
}

// FAULTS 74.
#[test]
fn parts_do_not_run_into_each_other() {
    let pair = |a: &str, b: &str| RequestKey::from(a).and(b);
    let pairs = [("a|b", "c"), ("a", "b|c"), ("ab", ""), ("a", "b"), ("", "ab"), ("\0", "")];
    all_differ(&pairs.map(|(a, b)| pair(a, b)));
    let with_tags = [("a\u{1}b", "c"), ("a", "b\u{1}c")];
    all_differ(&with_tags.map(|(a, b)| pair(a, b)));
    all_differ(&[pair("a", "b"), "ab".into(), RequestKey::from("a").and(pair("b", ""))]);
}

// FAULTS 75.
#[test]
fn the_same_bytes_of_another_type_are_another_key() {
    let credential = key(&ApiKey::header("x-api-key"), &with_header("x-api-key", b"x"));
    let address = IpAddr::from([120, 120, 120, 120]);
    all_differ(&[
        credential,
        "x".into(),
        "apikey:x".into(),
        b"x".as_slice().into(),
        RequestKey::from("user").and("x"),
        "xxxx".into(),
        address.into(),
        u64::from_be_bytes(*b"xxxxxxxx").into(),
        "xxxxxxxx".into(),
    ]);
}

#[test]
fn a_text_cannot_pretend_to_be_another_part() {
    let joined = RequestKey::from("a").and("b");
    let forged: RequestKey = std::str::from_utf8(joined.as_ref()).expect("bytes are text").into();
    assert_ne!(forged, joined);
}

// FAULTS 82.
#[test]
fn credentials_are_compared_byte_by_byte() {
    let spelled: [&[u8]; 10] = [
        b"alice",
        b"Alice",
        ALICE,
        b"\x31\xfealice\x80",
        "caf\u{e9}".as_bytes(),
        "cafe\u{301}".as_bytes(),
        "\u{ff41}lice".as_bytes(),
        "\u{130}".as_bytes(),
        b"i",
        "alice\u{200b}".as_bytes(),
    ];
    let api_key = ApiKey::header("x-api-key");
    all_differ(&spelled.map(|value| key(&api_key, &with_header("x-api-key", value))));
    let again = with_header("x-api-key", ALICE);
    assert_eq!(key(&api_key, &again), key(&api_key, &again));
}

// FAULTS 80.
#[test]
fn bytes_that_others_would_interpret_stay_as_they_are() {
    let raw: [&[u8]; 7] = [
        b"\0",
        b"\r\nINCR x",
        b"\xff\xfe",
        b"\xfe\xff",
        b"\xed\xa0\x80",
        b"\xed\xa0\x81",
        b"'; DROP TABLE x",
    ];
    all_differ(&raw.map(RequestKey::from));
    let api_key = ApiKey::header("x-api-key");
    all_differ(&raw.map(|credential| api_key.key_of(credential)));
}

// FAULTS 83.
#[test]
fn the_scheme_of_a_bearer_token_has_no_case_and_any_number_of_spaces() {
    let bearer = ApiKey::bearer();
    let known = key(&bearer, &with_header("authorization", b"Bearer tok"));
    for spelled in ["bearer tok", "BEARER  tok", "bEaReR   tok"] {
        assert_eq!(key(&bearer, &with_header("authorization", spelled.as_bytes())), known);
    }
    assert_ne!(key(&bearer, &with_header("authorization", b"Bearer TOK")), known);
    for spelled in ["Bearer tok ", "Bearer tok\t", " Bearer  \ttok", "Bearer\ttok"] {
        assert_eq!(key(&bearer, &with_header("authorization", spelled.as_bytes())), known);
    }
    for absent in ["Basic tok", "Digest tok", "Bearer", "Bearer ", "Bearer \t ", "Bearertok", ""] {
        let error = bearer.key(&with_header("authorization", absent.as_bytes()));
        assert!(matches!(error, Err(KeyError::Missing)), "{absent}");
    }
}

#[test]
fn a_key_function_shows_where_it_looks_and_no_secret() {
    let shown = format!("{:?}", ApiKey::bearer().pepper("0123456789abcdef"));
    assert!(shown.contains("Bearer") && !shown.contains("0123456789abcdef"), "{shown}");
    let shown = format!("{:?}", RequestKey::from("secret"));
    assert!(shown.ends_with(" bytes)") && !shown.contains("secret"), "{shown}");
}

#[test]
fn a_key_that_takes_no_time_is_known_at_once() {
    assert!(AsyncKeyFn::find(&PeerAddr, &at("192.0.2.1:1234")).into_ready().is_some());
}

// FAULTS 84.
#[test]
fn a_credential_has_one_budget_in_whichever_header() {
    let either = ApiKey::header("x-api-key").or(ApiKey::bearer());
    let header = key(&either, &with_header("X-API-Key", b"tok"));
    assert_eq!(key(&either, &with_header("authorization", b"Bearer tok")), header);
}

// FAULTS 194.
#[test]
fn a_shared_pepper_makes_the_same_digests_and_another_one_does_not() {
    let request = with_header("x-api-key", b"k1");
    let peppered = |secret: &str| key(&ApiKey::header("x-api-key").pepper(secret), &request);
    assert_eq!(peppered("0123456789abcdef"), peppered("0123456789abcdef"));
    assert_ne!(peppered("0123456789abcdef"), peppered("fedcba9876543210"));
    assert_ne!(peppered("0123456789abcdef"), key(&ApiKey::header("x-api-key"), &request));
}

#[test]
fn a_process_has_one_pepper() {
    let request = with_header("x-api-key", b"k1");
    let api_key = || ApiKey::header("x-api-key");
    assert_eq!(key(&api_key(), &request), key(&api_key(), &request));
}

// FAULTS 223.
#[test]
fn a_fallback_is_for_clients_that_say_nothing() {
    let client = ApiKey::header("x-api-key").or("someone");
    assert_eq!(key(&client, &with_header("x-other", b"k1")), "someone".into());
    assert_eq!(key(&client, &with_header("x-api-key", b"")), "someone".into());
    let twice = head(Request::get("/").header("x-api-key", "a").header("X-Api-Key", "a"));
    assert!(matches!(client.key(&twice), Err(KeyError::Duplicate)));
    let nowhere = PeerAddr.or("someone").key(&head(Request::get("/")));
    assert!(matches!(nowhere, Err(KeyError::NoPeer)));
}

#[test]
fn joined_functions_join_their_keys() {
    let path = |request: &Parts| Ok(request.uri.path().to_owned());
    let both = "v1".and(path).and(PeerAddr);
    let address = IpAddr::from([192, 0, 2, 1]);
    assert_eq!(
        key(&both, &at("192.0.2.1:80")),
        RequestKey::from("v1").and("/").and(address),
        "in order"
    );
    assert!(matches!(both.key(&head(Request::get("/"))), Err(KeyError::NoPeer)));
}

#[test]
fn a_peer_is_its_address_without_the_port_and_in_one_spelling() {
    let known = key(&PeerAddr, &at("192.0.2.1:80"));
    assert_eq!(key(&PeerAddr, &at("192.0.2.1:81")), known);
    assert_eq!(key(&PeerAddr, &at("[::ffff:192.0.2.1]:80")), known);
    assert_ne!(key(&PeerAddr, &at("[::192.0.2.1]:80")), known);
    assert_ne!(key(&PeerAddr, &at("192.0.2.2:80")), known);
}

#[cfg(feature = "axum")]
#[test]
fn axum_says_who_the_peer_is_unless_the_server_knows_better() {
    use axum::extract::ConnectInfo;
    let connected =
        |peer: &str| ConnectInfo(peer.parse::<std::net::SocketAddr>().expect("peer is an address"));
    let mut request = head(Request::get("/").extension(connected("192.0.2.1:80")));
    assert_eq!(key(&PeerAddr, &request), key(&PeerAddr, &at("192.0.2.1:80")));
    request.extensions.insert(Peer("192.0.2.2:80".parse().expect("peer is an address")));
    assert_eq!(key(&PeerAddr, &request), key(&PeerAddr, &at("192.0.2.2:80")));
}

#[test]
fn a_cookie_is_found_by_its_whole_name_in_any_line() {
    let session = ApiKey::cookie("sid");
    let lines = |lines: &[&str]| {
        head(lines.iter().fold(Request::get("/"), |request, line| request.header("cookie", *line)))
    };
    let known = key(&session, &lines(&["sid=tok"]));
    assert_eq!(key(&ApiKey::header("x-api-key"), &with_header("x-api-key", b"tok")), known);
    for spelled in [&["a=1; sid=tok;b=2"][..], &["a=1", "b=2;  sid=tok"], &["xsid=1; sid=tok"]] {
        assert_eq!(key(&session, &lines(spelled)), known);
    }
    assert_ne!(key(&session, &lines(&["sid=tok=="])), known);
    for absent in [&["sid="][..], &["SID=tok"], &["xsid=tok; sid2=tok; sid"], &[]] {
        assert!(matches!(session.key(&lines(absent)), Err(KeyError::Missing)), "{absent:?}");
    }
    for twice in [&["sid=a; sid=a"][..], &["sid=a", "sid=b"]] {
        assert!(matches!(session.key(&lines(twice)), Err(KeyError::Duplicate)), "{twice:?}");
    }
}

// FAULTS 223.
#[test]
fn white_space_around_a_credential_is_no_new_client() {
    let api_key = ApiKey::header("x-api-key");
    let known = key(&api_key, &with_header("x-api-key", b"tok"));
    for spelled in ["tok ", " tok", "\ttok\t", "   tok \t "] {
        assert_eq!(key(&api_key, &with_header("x-api-key", spelled.as_bytes())), known);
    }
    assert_ne!(key(&api_key, &with_header("x-api-key", b"t ok")), known);
    let cookie = ApiKey::cookie("sid");
    for spelled in ["sid= tok", "sid=tok ", "a=1;  sid = tok\t; b=2"] {
        assert_eq!(key(&cookie, &with_header("cookie", spelled.as_bytes())), known, "{spelled}");
    }
    for blank in ["", " ", "   ", "\t", " \t "] {
        let missing = api_key.key(&with_header("x-api-key", blank.as_bytes()));
        assert!(matches!(missing, Err(KeyError::Missing)), "{blank:?}");
        let missing = cookie.key(&with_header("cookie", format!("sid={blank}").as_bytes()));
        assert!(matches!(missing, Err(KeyError::Missing)), "{blank:?}");
        let fallback =
            key(&api_key.clone().or("nobody"), &with_header("x-api-key", blank.as_bytes()));
        assert_eq!(fallback, "nobody".into());
    }
}

// FAULTS 221.
#[test]
fn a_key_made_by_hand_is_the_layers() {
    let ip = |text: &str| RequestKey::ip(text.parse::<IpAddr>().expect("text is an address"));
    for (address, same) in [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1", "::ffff:192.0.2.1"),
        ("2001:db8::1", "2001:db8::ffff:7"),
        ("2002:c000:201:1::1", "2002:c000:201:2::"),
        ("192.0.2.1", "64:ff9b::192.0.2.1"),
        ("::1", "::2"),
    ] {
        let peer = format!("[{address}]:80").parse().ok();
        let peer = peer.or_else(|| format!("{address}:80").parse().ok());
        let request = head(Request::get("/").extension(Peer(peer.expect("address is fine"))));
        let layers = key(&PeerAddr, &request);
        assert_eq!(ip(same), layers);
        assert_eq!(key(&ClientIp::peer(), &request), layers);
        let function = move |_: &Parts| Ok(address.parse::<IpAddr>().expect("address is fine"));
        assert_eq!(key(&function, &request), layers);
        let narrow = ClientIp::builder().ipv6_prefix(128).build().expect("prefix is fine");
        let address: IpAddr = address.parse().expect("address is fine");
        assert_eq!(narrow.key_of(address), key(&narrow, &request));
    }

    let pepper = "0123456789abcdef";
    let with_key = head(
        Request::get("/")
            .header("x-api-key", "k1")
            .header("authorization", "Bearer k1")
            .header("cookie", "sid=k1"),
    );
    for place in [ApiKey::header("x-api-key"), ApiKey::bearer(), ApiKey::cookie("sid")] {
        assert_eq!(place.key_of("k1"), key(&place, &with_key));
        let peppered = place.pepper(pepper);
        assert_eq!(RequestKey::api_key("k1", pepper), key(&peppered, &with_key));
        assert_eq!(RequestKey::api_key(" k1\t", pepper), key(&peppered, &with_key));
    }

    let request = head(Request::get("http://api.example.com:81/x").extension(7_u64));
    let text = RequestKey::text;
    assert_eq!(key(&"all", &request), text("all"));
    assert_eq!(key(&MethodName, &request), text("GET"));
    let port = RequestKey::from(81);
    assert_eq!(key(&TargetHost, &request), text("api.example.com").and(port.clone()));
    assert_eq!(key(&Extension::new(|id: &u64| *id), &request), 7.into());
    assert_eq!(
        key(&"v1".and(MethodName).and(TargetHost), &request),
        RequestKey::parts([text("v1"), text("GET"), text("api.example.com"), port])
    );
    assert_eq!(RequestKey::parts(["a", "b"]), text("a").and(text("b")));
}

#[test]
fn methods_that_are_made_up_are_one() {
    let by_method = |name: &str| key(&MethodName, &head(Request::builder().method(name)));
    all_differ(&["GET", "POST", "PATCH", "X1", "get"].map(by_method)[..4]);
    assert_eq!(by_method("X1"), by_method("X2"));
    assert_eq!(by_method("X1"), by_method("get"));
}

#[test]
fn what_another_layer_has_found_can_be_a_key() {
    #[derive(Clone)]
    struct User(u64);

    let user = Extension::new(|user: &User| RequestKey::from("user").and(user.0));
    assert!(matches!(user.key(&head(Request::get("/"))), Err(KeyError::Missing)));
    let known = head(Request::get("/").extension(User(7)));
    assert_eq!(key(&user, &known), RequestKey::from("user").and(7));
}

// FAULTS 221.
#[tokio::test]
async fn lists_tiers_and_calls_by_hand_mean_the_client_of_a_layer() {
    let lists = Lists::new(store().0);
    let tiers = Tiers::new("api", FixedWindow::per_minute(2)).expect("numbers are fine");
    let pro = tiers.add("pro", FixedWindow::per_minute(5)).expect("numbers are fine");
    let is_pro = RequestKey::text("up");
    let by_key =
        tiers.by_key(move |key: &[u8]| if key == is_pro.as_ref() { pro } else { Tier::DEFAULT });
    let limiter = Limiter::with_policies(lists.clone(), by_key).expect("name is free");
    let user = |request: &Parts| {
        let name = request.headers.get("x-user").and_then(|name| name.to_str().ok());
        name.map(str::to_owned).ok_or(KeyError::Missing)
    };
    let app = app(RateLimitLayer::new(limiter.clone(), user.or(PeerAddr)));
    let of = |name: &str| request().header("x-user", name).body(Body::empty()).expect("is valid");
    let remaining = |key: &RequestKey| limiter.peek(key).now().expect("memory answers").remaining;

    lists.everywhere().deny(&RequestKey::text("mallory"));
    assert_eq!(status(&app, of("mallory")).await, 429);
    assert_eq!(status(&app, of("up")).await, 200);
    assert_eq!(remaining(&RequestKey::text("up")), 4, "of five");
    assert_eq!(status(&app, from("[2001:db8::7]:1")).await, 200);
    let neighbour = RequestKey::ip("2001:db8::1".parse::<IpAddr>().expect("is an address"));
    assert_eq!(remaining(&neighbour), 1);
    limiter.reset(&neighbour).now().expect("memory answers");
    assert_eq!(remaining(&neighbour), 2);
    limiter.block(&neighbour, Duration::from_secs(9)).now().expect("memory answers");
    assert_eq!(status(&app, from("[2001:db8::8]:1")).await, 429);
}
