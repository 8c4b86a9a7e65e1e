//! Simulates rate limits on yesterday's traffic.
//!
//! A [`Simulation`] sends the requests of access logs through candidate limits, each a line in the
//! notation of limits files. Its [`Report`] has, for each candidate, the requests and clients that
//! would have been denied, the longest denial, and how close the others came; on request also the
//! smallest limit that denies few enough clients. It is a table, JSON, or a page with charts.
//!
//! `ratelimit-core` decides, so decisions are those of a service whose clock shows the times of the
//! log, bit for bit. Most logs have whole seconds, so all requests of a second arrive at once; to
//! try a limit per second or less, use a log with milliseconds.
//!
//! The command of the same name does all this from a shell: see the
//! [README](https://github.com/ratelimit-rs/ratelimit/tree/main/ratelimit-metrics/simulate).
//!
//! ```
//! use ratelimit_simulate::{LogReader, LogSettings, Simulation};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let log = br#"
//! {"remote_addr":"203.0.113.9","msec":1760104536.250,"request_uri":"/login","status":200}
//! {"remote_addr":"203.0.113.9","msec":1760104536.750,"request_uri":"/login","status":401}
//! {"remote_addr":"203.0.113.9","msec":1760104537.125,"request_uri":"/logo.png","status":200}
//! "#;
//! let candidates = "login = { algorithm = 'fixed_window', limit = 1, window = '1m' }".parse()?;
//! let mut simulation = Simulation::new(candidates).with_search("1%".parse()?)?;
//!
//! let mut settings = LogSettings::default();
//! settings.paths = "/login".parse()?;
//! let mut reader = LogReader::new(settings)?;
//! reader.read(&log[..], &mut simulation)?;
//! let counts = reader.finish(&mut simulation);
//! assert_eq!((counts.lines, counts.requests, counts.left_out), (3, 2, 1));
//!
//! let report = simulation.report();
//! let login = &report.candidates[0];
//! assert_eq!((login.denied, login.clients_denied), (1, 1));
//! assert_eq!(login.most_affected[0].client, "203.0.113.9");
//! let two_a_minute = r#"login = { algorithm = "fixed_window", limit = 2, window = "1m" }"#;
//! assert_eq!(report.to_limits_file().trim(), two_a_minute);
//! # Ok(())
//! # }
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

mod candidates;
mod reader;
mod report;
mod search;
mod simulation;

mod filter;
mod keys;
mod log;
mod reorder;
mod settings;
mod time;

mod clients;
mod slot;
mod timeline;

pub use ratelimit_core::{CostError, Decision, Micros, Timestamp};

pub use crate::{
    candidates::{CandidateError, Candidates},
    filter::Patterns,
    log::{Format, LogError},
    reader::{BadLine, LogCounts, LogReader},
    report::{Affected, CandidateReport, FrontierPoint, OverTime, Report, Smallest},
    search::{SearchError, Share},
    settings::LogSettings,
    simulation::Simulation,
};

/// The README's examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
