//! The page in a browser: what it sends, counts and shows.

use ratelimit_servers::{Browser, poll};
use serde_json::{Value, json};

use crate::support::Demo;

/// A browser that shows the page of a demo.
struct Visit {
    demo: Demo,
    browser: Browser,
}

impl Visit {
    /// `None` where there is no browser.
    fn start() -> Option<Self> {
        let browser = Browser::start()?;
        let demo = Demo::start();
        browser.open(&format!("http://{}/", demo.address));
        Some(Self { demo, browser })
    }

    /// Admitted and denied by each limiter, as the page has counted its answers.
    fn counted(&self) -> Value {
        self.browser.run(
            "const count = (card, name) => Number(card.querySelector(`.${name} dd`).textContent);
             return Object.fromEntries([...document.querySelectorAll('article')].map((card) =>
               [card.dataset.limiter, [count(card, 'admitted'), count(card, 'denied')]]))",
        )
    }

    /// The same by the statistics of the server.
    fn served(&self) -> Value {
        let answer = self.demo.get("/statistics", "anybody");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let statistics: Value = serde_json::from_str(body).unwrap();
        let limiters = statistics["limiters"].as_array().unwrap().iter();
        let on_page = limiters.filter(|limiter| limiter["limiter"] != "export");
        let counts = on_page.map(|limiter| {
            let name = limiter["limiter"].as_str().unwrap();
            (name.to_owned(), json!([limiter["admitted"], limiter["denied"]]))
        });
        Value::Object(counts.collect())
    }

    /// The same as the page shows what the server has counted.
    fn shown(&self) -> Value {
        self.browser.run(
            "const cards = [...document.querySelectorAll('article')];
             const rows = [...document.getElementById('totals').tBodies[0].rows];
             return Object.fromEntries(cards.map((card) => {
               const name = card.querySelector('h2').textContent;
               const row = rows.find((row) => row.cells[0].textContent === name);
               return [card.dataset.limiter,
                 [1, 2].map((cell) => Number(row?.cells[cell].textContent))];
             }))",
        )
    }

    fn said(&self) -> String {
        let said = self.browser.run("return document.getElementById('said').textContent");
        said.as_str().unwrap().to_owned()
    }

    /// Waits until the page has the answers to a burst; how many were admitted, and denied.
    fn burst(&self) -> [u64; 2] {
        self.browser.click("#burst");
        assert!(poll(|| self.said().starts_with("Burst:")), "{}", self.said());
        sum(&self.counted())
    }

    #[track_caller]
    fn counts_what_the_server_counts(&self) {
        assert_eq!(self.counted(), self.served());
        assert!(poll(|| self.shown() == self.served()), "{} {}", self.shown(), self.served());
    }
}

/// Of all limiters.
fn sum(counts: &Value) -> [u64; 2] {
    let count = |index: usize| {
        counts.as_object().unwrap().values().map(|pair| pair[index].as_u64().unwrap()).sum()
    };
    [count(0), count(1)]
}

#[test]
fn a_burst_is_counted_as_the_server_counts_it() {
    let Some(visit) = Visit::start() else { return };
    let [admitted, denied] = visit.burst();
    assert_eq!(admitted + denied, 6 * 8, "each limiter was asked 8 times");
    assert!(denied >= 5, "who admits 5 denies the rest, unless a window turned over");
    assert_eq!(visit.said(), format!("Burst: {admitted} admitted, {denied} denied."));
    visit.counts_what_the_server_counts();

    let offender = visit.browser.run(
        "return [...document.querySelectorAll('#offenders tbody tr:first-child td')]
           .map((cell) => cell.textContent)",
    );
    assert_eq!(offender[0], "alice", "{offender}");
    let headers = "return document.querySelector('[data-limiter=token_bucket] pre').textContent";
    assert!(visit.browser.run(headers).as_str().unwrap().contains("retry-after: "));
}

#[test]
fn each_of_two_clients_has_a_limit_of_its_own() {
    let Some(visit) = Visit::start() else { return };
    visit.browser.click("#clients label:last-child");
    let [admitted, denied] = visit.burst();
    assert_eq!(admitted + denied, 2 * 6 * 8);
    let log = visit.counted()["sliding_window_log"].clone();
    assert_eq!(log, json!([10, 6]), "5 to each client");
    visit.counts_what_the_server_counts();
}

#[test]
fn a_steady_stream_flows_until_it_is_stopped() {
    let Some(visit) = Visit::start() else { return };
    visit.browser.run("document.getElementById('rate').value = 4");
    visit.browser.click("#steady");
    let total = || sum(&visit.counted()).iter().sum::<u64>();
    assert!(poll(|| total() >= 3 * 6), "{}", total());
    visit.browser.click("#steady");
    assert_eq!(visit.said(), "Stopped.");
    assert!(poll(|| visit.counted() == visit.served()), "what was under way has arrived");
    visit.counts_what_the_server_counts();
}

#[test]
fn the_keyboard_is_enough() {
    const TAB: char = '\u{e004}';
    const RIGHT: char = '\u{e014}';
    const ENTER: char = '\u{e007}';
    let Some(visit) = Visit::start() else { return };
    let focus = || visit.browser.run("return document.activeElement.id");
    visit.browser.press(TAB);
    assert_eq!(focus(), "size");
    visit.browser.press(RIGHT);
    visit.browser.press(TAB);
    assert_eq!(focus(), "burst");
    visit.browser.press(ENTER);
    assert!(poll(|| visit.said().starts_with("Burst:")), "{}", visit.said());
    assert_eq!(sum(&visit.counted()).iter().sum::<u64>(), 6 * 9, "one more, by the arrow key");
}

#[test]
fn it_fits_a_phone_in_light_and_dark() {
    let Some(visit) = Visit::start() else { return };
    visit.burst();
    let background = |scheme| {
        visit.browser.pretend_phone(360, 740, scheme);
        let width = visit.browser.run("return document.documentElement.scrollWidth");
        assert_eq!(width, 360, "nothing sticks out");
        visit.browser.run("return getComputedStyle(document.body).backgroundColor")
    };
    assert_ne!(background("light"), background("dark"));
}

#[test]
fn nothing_comes_from_elsewhere() {
    let Some(visit) = Visit::start() else { return };
    let resources = "return performance.getEntriesByType('resource').map((it) => it.name)";
    let resources = visit.browser.run(resources);
    let own = format!("http://{}/", visit.demo.address);
    for resource in resources.as_array().unwrap() {
        assert!(resource.as_str().unwrap().starts_with(&own), "{resource}");
    }
    let intrusion = "const script = document.createElement('script');
        script.textContent = 'window.intruder = true';
        document.body.append(script);
        return window.intruder ?? false";
    assert_eq!(visit.browser.run(intrusion), false, "its policy runs no script but its own");
}
