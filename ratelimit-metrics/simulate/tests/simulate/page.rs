//! The page in a browser: it shows the numbers of the report, on any screen, and needs nothing.

use std::fs;

use ratelimit_servers::Browser;
use serde_json::json;

use crate::{
    command::{run, text},
    generated_log,
};

const LIMITS: [&str; 6] = [
    "--limit",
    "api=100/60s",
    "--limit",
    "hour={ algorithm = \"sliding_window_counter\", limit = 1000, window = \"1h\" }",
    "--deny-at-most",
    "1%",
];

#[test]
fn the_page_shows_the_report_on_any_screen_and_needs_nothing_from_elsewhere() {
    let Some(browser) = Browser::start() else {
        println!("skipped: there is no Chromium, or no driver of it");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let arguments = [&LIMITS[..], &["--html", "report.html", "--json", "-"]].concat();
    let output = run(folder.path(), &arguments, generated_log::log().as_bytes());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    browser.open(&format!("file://{}", folder.path().join("report.html").display()));

    let names = browser
        .run("return [...document.querySelectorAll('h2')].map((it) => it.firstChild.data.trim())");
    assert_eq!(names, json!(["api", "hour"]));
    // Charts of requests, denials and headroom each, and the frontier of the bucket.
    let charts = browser.run(
        "return [...document.querySelectorAll('article')].map((it) => it.querySelectorAll('svg').length)",
    );
    assert_eq!(charts, json!([4, 3]));
    let sums = browser.run(
        "const number = (cell) => Number(cell.textContent.replaceAll(' ', ''));
         return [...document.querySelectorAll('article')].map((article) => {
           const rows = [...article.querySelector('figure table').tBodies[0].rows];
           const sum = (column) => rows.reduce((sum, row) => sum + number(row.cells[column]), 0);
           return [sum(1), sum(2)];
         })",
    );
    let candidates = report["candidates"].as_array().unwrap();
    let expected: Vec<_> =
        candidates.iter().map(|one| json!([one["admitted"], one["denied"]])).collect();
    assert_eq!(sums, json!(expected));
    let bars = browser.run(
        "return [...document.querySelectorAll('article:first-of-type rect title')].map((it) =>
           Number(it.textContent.split(': ')[1]))",
    );
    let api = &candidates[0];
    let counts = ["clients_by_denials", "clients_by_headroom"].map(|name| api[name].clone());
    let counts: Vec<_> = counts.iter().flat_map(|it| it.as_array().unwrap().clone()).collect();
    assert_eq!(bars, json!(counts));

    let resources = browser.run("return performance.getEntriesByType('resource').length");
    assert_eq!(resources, 0);
    let grounds = ["light", "dark"].map(|scheme| {
        browser.pretend_phone(360, 740, scheme);
        let width = browser.run("return document.documentElement.scrollWidth");
        assert_eq!(width, 360, "nothing is beside the screen");
        browser.run("return getComputedStyle(document.body).backgroundColor")
    });
    assert_ne!(grounds[0], grounds[1]);
}

#[test]
fn what_a_client_is_called_is_never_markup() {
    let folder = tempfile::tempdir().unwrap();
    let line = "{\"time\":1760104536,\"user\":\"<img src=x>&\\\"\"}\n".repeat(3);
    let arguments = ["--limit", "api=1/1s", "--key", "user", "--html", "-"];
    let output = run(folder.path(), &arguments, line.as_bytes());
    let page = text(&output.stdout);
    assert!(page.contains("<td>&lt;img src=x&gt;&amp;&quot;</td>"), "{page}");
    assert!(!page.contains("<img") && !fs::exists(folder.path().join("-")).unwrap());
}
