//! The page about leases in a browser.

use ratelimit_servers::{Browser, Server, poll};

use crate::support::Demo;

/// A browser that shows the page of a demo.
struct Visit {
    demo: Demo,
    browser: Browser,
    _server: Server,
}

impl Visit {
    /// `None` where there is no browser, or no Redis server.
    fn start() -> Option<Self> {
        let browser = Browser::start()?;
        let server = Server::start(&[])?;
        let demo = Demo::start_leases(Some(&server.url()));
        browser.open(&format!("http://{}/", demo.address));
        let visit = Self { demo, browser, _server: server };
        assert!(poll(|| 0 < visit.number("#now")), "{}", visit.text("main"));
        Some(visit)
    }

    fn text(&self, selector: &str) -> String {
        let script = format!("return document.querySelector('{selector}')?.textContent ?? ''");
        self.browser.run(&script).as_str().unwrap().to_owned()
    }

    /// A number as it is shown, or 0.
    fn number(&self, selector: &str) -> u64 {
        self.text(selector).replace(',', "").parse().unwrap_or(0)
    }

    /// Cell `column` of a process, both counted from 1.
    fn cell(process: usize, column: usize) -> String {
        format!("#processes tbody tr:nth-child({process}) > :nth-child({column})")
    }
}

#[test]
fn what_all_processes_admit_is_shown_beside_limit_and_bound() {
    let Some(visit) = Visit::start() else { return };
    assert_eq!((visit.number("#limit"), visit.number("#bound")), (10_000, 10_100));
    assert!(visit.text("#terms").contains("at most 100 above it in any window: 1 %"));
    let is_near = || 1_000 < visit.number("#most") && 100 < visit.number(&Visit::cell(4, 5));
    assert!(poll(is_near), "{}", visit.text("main"));
    assert!(visit.number("#now") <= visit.number("#most"));
    assert!(visit.number("#most") <= 10_100);
    let admitted: u64 = (1..=4).map(|process| visit.number(&Visit::cell(process, 4))).sum();
    let shown = visit.demo.processes();
    let served = |index: usize| shown["processes"][index]["totals"]["admitted"].as_u64().unwrap();
    let served: u64 = (0..4).map(served).sum();
    assert!(0 < admitted && admitted <= served, "{admitted} {served}");
    // Both charts are drawn, and say in words what they show.
    let drawn = "return ['whole', 'near'].every((id) => {
        const canvas = document.getElementById(id);
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        return data.some((byte) => byte !== 0) && canvas.ariaLabel.startsWith('The last minute'); })";
    assert_eq!(visit.browser.run(drawn), true);
}

#[test]
fn a_button_kills_a_process_and_starts_it_again() {
    let Some(visit) = Visit::start() else { return };
    let (state, button) = (Visit::cell(3, 2), Visit::cell(3, 9) + " button");
    assert_eq!((visit.text(&state), visit.text(&button)), ("running".into(), "Kill".into()));
    visit.browser.click(&button);
    assert!(poll(|| visit.text(&state) == "killed"), "{}", visit.text("main"));
    assert_eq!(visit.text("#said"), "Process 3 was killed.");
    assert_eq!(visit.text(&button), "Start");
    assert!(visit.demo.processes()["processes"][2]["is_running"] == false);

    visit.browser.click(&button);
    assert!(poll(|| visit.text(&state) == "running"), "{}", visit.text("main"));
    assert_eq!(visit.text("#said"), "Process 3 was started.");
}

#[test]
fn the_keyboard_reaches_the_buttons_and_keeps_its_place() {
    const TAB: char = '\u{e004}';
    const ENTER: char = '\u{e007}';
    let Some(visit) = Visit::start() else { return };
    let focus = || visit.browser.run("return document.activeElement.ariaLabel");
    visit.browser.press(TAB);
    assert_eq!(visit.browser.run("return document.activeElement.id"), "scroll");
    visit.browser.press(TAB);
    assert_eq!(focus(), "Kill process 1");
    visit.browser.press(ENTER);
    // The table was renewed meanwhile, and the focus is where it was.
    assert!(poll(|| focus() == "Start process 1"), "{}", visit.text("main"));
    visit.browser.press(TAB);
    assert_eq!(focus(), "Kill process 2");
}

#[test]
fn it_fits_a_phone_in_light_and_dark() {
    let Some(visit) = Visit::start() else { return };
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
    let resources = resources.as_array().unwrap();
    assert!(resources.iter().all(|it| it.as_str().unwrap().starts_with(&own)), "{resources:?}");
}
