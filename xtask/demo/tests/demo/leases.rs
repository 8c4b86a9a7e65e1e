//! Leases at work: processes, their kills, and the bound.

use std::process::Command;

use ratelimit_servers::{Server, poll};
use serde_json::Value;

use crate::support::Demo;

impl Demo {
    /// Everything that the page about leases shows.
    pub(crate) fn processes(&self) -> Value {
        let answer = self.get("/processes", "anybody");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.1 200") && head.contains("cache-control: no-store"),
            "{head}"
        );
        serde_json::from_str(body).unwrap()
    }

    /// The number of a process in the system, counted from 1; `None` once it has ended.
    fn running(&self, number: usize) -> Option<u64> {
        let process = &self.processes()["processes"][number - 1];
        process["is_running"].as_bool().unwrap().then(|| process["id"].as_u64().unwrap())
    }

    fn total(&self, number: usize, name: &str) -> u64 {
        self.processes()["processes"][number - 1]["totals"][name].as_u64().unwrap()
    }
}

/// Returns true if the system has a process of this number.
fn is_there(id: u64) -> bool {
    Command::new("kill").args(["-0", &id.to_string()]).output().unwrap().status.success()
}

#[test]
fn processes_admit_the_limit_by_leases_and_no_more_than_the_bound() {
    let Some(server) = Server::start(&[]) else { return };
    let demo = Demo::start_leases(Some(&server.url()));
    let is_spent = || {
        let shown = demo.processes();
        let number = |name: &str| shown[name].as_u64().unwrap();
        assert!(number("most") <= number("limit") + number("excess_max"), "{shown}");
        number("limit") * 9 / 10 < number("most")
    };
    // Together they ask for the limit in five seconds.
    assert!(poll(is_spent) || poll(is_spent), "{}", demo.processes());
    let shown = demo.processes();
    assert_eq!(shown["excess_max"], 100, "1 % of {}", shown["limit"]);
    assert_eq!(shown["processes"].as_array().unwrap().len(), 4);
    for number in 1..=4 {
        let total = |name| demo.total(number, name);
        assert!(total("admitted") < 2 * total("leased"), "{shown}");
        assert!(4 * total("calls") < total("checks"), "{shown}");
    }
}

#[test]
fn a_process_is_killed_and_started_again_and_the_others_go_on() {
    let Some(server) = Server::start(&[]) else { return };
    let demo = Demo::start_leases(Some(&server.url()));
    assert!(poll(|| 0 < demo.total(2, "admitted")), "{}", demo.processes());
    let id = demo.running(2).unwrap();
    let post = |path: &str, number| demo.post(path, "application/json", number);

    assert!(post("/processes/start", 2).starts_with("HTTP/1.1 409"), "it runs");
    assert!(post("/processes/kill", 2).starts_with("HTTP/1.1 204"));
    assert!(poll(|| demo.running(2).is_none()));
    assert!(poll(|| !is_there(id)), "it is killed, and not only said to be");
    assert!(post("/processes/kill", 2).starts_with("HTTP/1.1 409"), "it has ended");
    let before = demo.total(1, "checks");
    assert!(poll(|| before < demo.total(1, "checks")), "{}", demo.processes());

    assert!(post("/processes/start", 2).starts_with("HTTP/1.1 204"));
    assert!(demo.running(2).is_some_and(|new| new != id));
    assert!(poll(|| 0 < demo.total(2, "checks")), "{}", demo.processes());
    let shown = demo.processes();
    let event =
        |index: usize| (&shown["events"][index]["number"], &shown["events"][index]["is_kill"]);
    assert_eq!([event(0), event(1)], [(&2.into(), &true.into()), (&2.into(), &false.into())]);
}

#[test]
fn a_page_from_elsewhere_kills_nothing() {
    let Some(server) = Server::start(&[]) else { return };
    let demo = Demo::start_leases(Some(&server.url()));
    // What a form or a script of another page may send without being asked about it first.
    for content_type in ["text/plain", "application/x-www-form-urlencoded"] {
        let answer = demo.post("/processes/kill", content_type, 1);
        assert!(answer.starts_with("HTTP/1.1 415"), "{answer}");
    }
    for number in [0, 5, usize::MAX] {
        let answer = demo.post("/processes/kill", "application/json", number);
        assert!(answer.starts_with("HTTP/1.1 409"), "{answer}");
    }
    assert!((1..=4).all(|number| demo.running(number).is_some()), "{}", demo.processes());
}

#[cfg(unix)]
#[test]
fn it_starts_a_server_of_its_own_and_ends_all_that_it_has_started() {
    if Server::start(&[]).is_none() {
        return;
    }
    let mut demo = Demo::start_leases(None);
    assert!(poll(|| 0 < demo.total(1, "admitted")), "{}", demo.processes());
    let mut ids: Vec<_> = (1..=4).map(|number| demo.running(number).unwrap()).collect();
    let children = Command::new("pgrep").args(["-P", &demo.process.id().to_string()]).output();
    let children = String::from_utf8(children.unwrap().stdout).unwrap();
    let children: Vec<u64> = children.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(children.len(), 5, "four processes and a server");
    assert!(ids.iter().all(|id| children.contains(id)), "{ids:?} {children:?}");
    ids = children;

    let interrupt = Command::new("kill").args(["-INT", &demo.process.id().to_string()]).status();
    assert!(interrupt.unwrap().success());
    assert!(demo.process.wait().unwrap().success());
    assert!(poll(|| !ids.iter().any(|id| is_there(*id))), "{ids:?}");
}

#[cfg(unix)]
#[test]
fn processes_do_not_outlive_a_demo_that_is_killed() {
    let Some(server) = Server::start(&[]) else { return };
    let demo = Demo::start_leases(Some(&server.url()));
    assert!(poll(|| 0 < demo.total(1, "admitted")), "{}", demo.processes());
    let ids: Vec<_> = (1..=4).map(|number| demo.running(number).unwrap()).collect();
    drop(demo);
    assert!(poll(|| !ids.iter().any(|id| is_there(*id))), "{ids:?}");
}
