//! A Chromium without a screen, told what to do over WebDriver.
//!
//! The protocol is JSON over HTTP, and the tests say few things of it: a client of its own is
//! shorter than the use of one that knows all of it, and needs no runtime.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{is_there, is_without};

/// A browser with an empty profile, gone with its handle.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    profile: TempDir,
}

impl Browser {
    /// Starts one; `None`, and says why, where there is no Chromium or no driver of it.
    pub fn start() -> Option<Self> {
        if !is_found("chromium") || !is_found("chromedriver") {
            return None;
        }
        let profile = tempfile::tempdir().expect("a directory can be made");
        let (driver, port) = start_driver();
        let mut browser = Self { driver, port, session: "/session".to_owned(), profile };
        let folder = format!("--user-data-dir={}", browser.profile.path().display());
        let arguments: Vec<_> = ARGUMENTS.into_iter().chain([&*folder]).collect();
        let options = json!({ "goog:chromeOptions": { "args": arguments } });
        let session = browser.ask("", &json!({ "capabilities": { "alwaysMatch": options } }));
        browser.session = format!("/session/{}", text(&session["sessionId"]));
        Some(browser)
    }

    /// Loads a page, and waits until it is there.
    pub fn open(&self, url: &str) {
        self.ask("/url", &json!({ "url": url }));
    }

    /// Runs a script in the page, and returns its result.
    pub fn run(&self, script: &str) -> Value {
        self.ask("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Clicks on what a CSS selector finds, as a mouse would.
    pub fn click(&self, selector: &str) {
        let query = json!({ "using": "css selector", "value": selector });
        let element = self.ask("/element", &query);
        let id = element.as_object().and_then(|object| object.values().next());
        self.ask(&format!("/element/{}/click", id.map(text).unwrap_or_default()), &json!({}));
    }

    /// Presses a key: a character, or one of those that WebDriver gives to other keys.
    pub fn press(&self, key: char) {
        let presses =
            [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })];
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": presses });
        self.ask("/actions", &json!({ "actions": [keyboard] }));
    }

    /// Shows pages as on a phone of this size, whose owner prefers `scheme`: `light` or `dark`.
    pub fn pretend_phone(&self, width: u32, height: u32, scheme: &str) {
        let screen =
            json!({ "width": width, "height": height, "deviceScaleFactor": 2, "mobile": true });
        self.command("Emulation.setDeviceMetricsOverride", &screen);
        let scheme = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.command("Emulation.setEmulatedMedia", &json!({ "features": [scheme] }));
    }

    /// Of Chromium's own protocol, for what WebDriver does not know.
    fn command(&self, command: &str, parameters: &Value) {
        self.ask("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }));
    }

    fn ask(&self, path: &str, body: &Value) -> Value {
        let (status, mut answer) = self.send("POST", path, &body.to_string());
        assert_eq!(status, "http/1.1 200 ok", "{path}: {answer}");
        answer["value"].take()
    }

    fn send(&self, method: &str, path: &str, body: &str) -> (String, Value) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the driver listens");
        let head = format!("{method} {}{path} HTTP/1.1\r\nhost: 127.0.0.1", self.session);
        let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).expect("the driver reads");
        let mut answer = BufReader::new(stream);
        let mut head: Vec<String> = Vec::new();
        while head.last().is_none_or(|line| !line.is_empty()) {
            let mut line = String::new();
            answer.read_line(&mut line).expect("the driver answers");
            head.push(line.trim_end().to_ascii_lowercase());
        }
        let length = head.iter().find_map(|line| line.strip_prefix("content-length:"));
        let length = length.and_then(|length| length.trim().parse().ok());
        let mut body = vec![0; length.expect("the driver says how much")];
        answer.read_exact(&mut body).expect("the driver says all of it");
        let body = serde_json::from_slice(&body).expect("the driver speaks JSON");
        (head[0].clone(), body)
    }
}

/// The browser ends with its session, and not with its driver.
impl Drop for Browser {
    fn drop(&mut self) {
        if self.session != "/session" {
            let _ = self.send("DELETE", "", "");
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// On a port that it has found free, which it tells.
fn start_driver() -> (Child, u16) {
    let mut driver = Command::new("chromedriver")
        .arg("--port=0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("chromedriver runs");
    let output = BufReader::new(driver.stdout.take().expect("it is piped"));
    let port = output.lines().map_while(Result::ok).find_map(|line| {
        line.strip_suffix('.')?.split_once(" started successfully on port ")?.1.parse().ok()
    });
    (driver, port.expect("chromedriver says where it listens"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// It runs as root, in a container at that, and is to talk to nobody but the test.
const ARGUMENTS: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// Without a browser tests are skipped, but not in CI.
fn is_found(program: &str) -> bool {
    if is_without() {
        return false;
    }
    let is_there = is_there(program);
    assert!(is_there || std::env::var_os("CI").is_none(), "CI needs {program}");
    if !is_there {
        eprintln!("skipped: there is no {program} on the path");
    }
    is_there
}
