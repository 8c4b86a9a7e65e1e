//! The example as its users run it: a process, and requests over a socket.

use ratelimit_servers::Example;

#[test]
fn it_greets_three_times_and_says_when_to_come_back() {
    let example = Example::start("actix");
    for remaining in [2, 1, 0] {
        let served = example.get();
        assert!(served.starts_with("HTTP/1.1 200 OK\r\n"), "{served}");
        assert!(served.contains(&format!("x-ratelimit-remaining: {remaining}\r\n")), "{served}");
        assert!(served.ends_with("\r\n\r\nhello\n"), "{served}");
    }
    let denied = example.get();
    assert!(denied.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{denied}");
    assert!(denied.contains("retry-after: 20\r\n"), "{denied}");
}
