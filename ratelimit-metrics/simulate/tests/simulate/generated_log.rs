//! A day's log that a test makes: people who load pages in bursts, a crawler, a retry storm.

use std::fmt::Write;

/// The lines of the day in the combined format, in the order of their times; the same every time.
pub(crate) fn log() -> String {
    let mut random = Random(1);
    let mut requests = Vec::new();
    for person in 0..300 {
        people(person, &mut random, &mut requests);
    }
    // Three requests a second for an hour.
    let crawl =
        (0..10_800).map(|n| (36_000 + n / 3, "198.51.100.7".to_owned(), format!("/item/{n}")));
    requests.extend(crawl);
    // Two clients that retry at once, for two minutes, until the service is back.
    for client in 0..2 {
        let storm =
            (0..2_400).map(|n| (50_400 + n / 20, format!("192.0.2.{client}"), "/pay".to_owned()));
        requests.extend(storm);
    }
    requests.sort_by_key(|request| request.0);
    let mut log = String::new();
    for (second, client, path) in requests {
        let time = [second / 3_600, second / 60 % 60, second % 60];
        let [hour, minute, second] = time;
        let _ = writeln!(
            log,
            "{client} - - [10/Oct/2025:{hour:02}:{minute:02}:{second:02} +0000] \
             \"GET {path} HTTP/1.1\" 200 1234 \"-\" \"-\""
        );
    }
    log
}

/// Some pages over the day: each with a dozen of requests within two seconds.
fn people(person: u64, random: &mut Random, requests: &mut Vec<(u64, String, String)>) {
    let client = format!("203.0.113.{}", person % 250);
    let client = if person < 250 { client } else { format!("2001:db8:0:{person:x}::1") };
    let mut second = 28_800 + random.below(7_200);
    for page in 0..4 + random.below(8) {
        for resource in 0..8 + random.below(8) {
            let path = format!("/page/{page}/{resource}");
            requests.push((second + random.below(2), client.clone(), path));
        }
        second += 30 + random.below(1_800);
    }
}

/// A generator that never changes, unlike those of libraries.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
