//! The example as its users run it: a process, and requests over a socket.

use ratelimit_servers::Example;

#[test]
fn it_greets_three_times_and_says_when_to_come_back() {
    Example::start("actix").greets_three_times();
}
