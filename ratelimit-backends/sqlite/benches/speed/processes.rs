//! Several processes on one file, each a caller that waits for each answer.

use std::{
    env,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use ratelimit_algorithms::{Decision, Error, ErrorKind};

use crate::{
    file::{Files, PLENTY, keys, open},
    row::{Effort, Reach, Row, Samples},
};

pub(crate) fn rows(name: &str, effort: Effort) -> Vec<Row> {
    let files = Files::new();
    let ask = |processes| crowd(processes, &files.ours(), effort.length * 2);
    ask(1);
    let [mut rate, mut rate_alone, mut longest, mut longest_alone] =
        [(); 4].map(|()| Samples::default());
    for _ in 0..effort.rounds {
        let one = ask(1);
        rate_alone.push(one.0);
        longest_alone.push(one.1);
        let several = ask(4);
        rate.push(several.0);
        longest.push(several.1);
    }
    let row = |suffix: &str, unit, ours, theirs, reach| Row {
        name: format!("{name}{suffix}"),
        unit,
        ours,
        beside: "one process",
        theirs,
        reach,
    };
    vec![
        row("", "decisions/s", rate, rate_alone, Reach::Ratio(0.6)),
        row(", longest wait", "ms", longest, longest_alone, Reach::Below(250.0)),
    ]
}

/// Decisions a second of all together, and the longest wait of any, in milliseconds.
fn crowd(processes: usize, file: &Path, length: Duration) -> (f64, f64) {
    let children: Vec<Child> = (0..processes)
        .map(|_| {
            Command::new(env::current_exe().unwrap())
                .env(FILE, file)
                .env(LENGTH, length.as_millis().to_string())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let reports = children.into_iter().map(|child| {
        let report = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        let (rate, longest) = report.trim_end().split_once(' ').unwrap();
        (rate.parse().unwrap(), longest.parse().unwrap())
    });
    reports.fold((0.0, 0.0), |(rate, longest): (f64, f64), report: (f64, f64)| {
        (rate + report.0, longest.max(report.1))
    })
}

/// Whether this is a process of [`crowd`].
pub(crate) fn is_child() -> bool {
    env::var_os(FILE).is_some()
}

/// Asks for a while, and reports its rate and its longest wait. Who hears of a timeout asks again,
/// and has waited all the while.
pub(crate) fn play_role() {
    let length = Duration::from_millis(env::var(LENGTH).unwrap().parse().unwrap());
    let (limiter, keys) = (open(Path::new(&env::var_os(FILE).unwrap()), PLENTY), keys());
    let (start, mut asked, mut longest) = (Instant::now(), 0.0, Duration::ZERO);
    let mut keys = keys.iter().cycle();
    while start.elapsed() < length {
        let before = Instant::now();
        let key = keys.next().unwrap();
        while !is_answered(limiter.check(key)) {}
        longest = longest.max(before.elapsed());
        asked += 1.0;
    }
    println!("{} {}", asked / start.elapsed().as_secs_f64(), longest.as_secs_f64() * 1e3);
}

fn is_answered(answer: Result<Decision, Error>) -> bool {
    match answer {
        Ok(decision) => decision.is_allowed(),
        Err(Error::Backend(error)) if error.kind() == ErrorKind::Timeout => false,
        Err(error) => panic!("{error}"),
    }
}

const FILE: &str = "RATELIMIT_BENCH_FILE";
const LENGTH: &str = "RATELIMIT_BENCH_LENGTH_MS";
