//! The processes: started, killed and listened to.

use std::{
    env,
    io::{self, BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::leases::{
    holder::{Report, Settings, Totals, WORD},
    record::{Record, SLOT},
    terms::{LIMIT, PROCESSES, REQUESTS_PER_SECOND, Terms, WINDOW},
};

/// The processes that share the limit. They end when this is dropped.
#[derive(Debug)]
pub(crate) struct Processes {
    terms: Terms,
    program: PathBuf,
    /// A line of the input of each.
    settings: String,
    processes: Mutex<Vec<Process>>,
    record: Arc<Mutex<Record>>,
    events: Mutex<Vec<Event>>,
}

/// A process, killed when this is dropped. Its place stays when it has ended.
#[derive(Debug)]
struct Process {
    /// With its input, which ends no earlier than this.
    child: Child,
    totals: Arc<Mutex<Totals>>,
}

/// A process that was killed or started again, and the slot in which that was.
#[derive(Clone, Copy, Debug)]
struct Event {
    slot: u64,
    number: usize,
    is_kill: bool,
}

impl Processes {
    /// Starts all of them.
    pub(crate) fn start(terms: Terms, settings: &Settings) -> Result<Self> {
        let settings = serde_json::to_string(settings)? + "\n";
        let program = env::current_exe().context("the demo does not know its own program")?;
        let (processes, events) = (Mutex::default(), Mutex::default());
        let started = Self { terms, program, settings, processes, record: Arc::default(), events };
        for _ in 0..PROCESSES {
            let process = started.spawn().context("the demo cannot be run again")?;
            lock(&started.processes).push(process);
        }
        Ok(started)
    }

    fn spawn(&self) -> io::Result<Process> {
        let mut command = Command::new(&self.program);
        let mut child = command.arg(WORD).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take();
        let process = Process { child, totals: Arc::default() };
        if let Some(mut input) = process.child.stdin.as_ref() {
            input.write_all(self.settings.as_bytes())?;
        }
        if let Some(output) = output {
            let (record, totals) = (Arc::clone(&self.record), Arc::clone(&process.totals));
            thread::spawn(move || listen(output, &record, &totals));
        }
        Ok(process)
    }

    /// Kills a process, counted from 1. Returns false if there is none that runs.
    pub(crate) fn kill(&self, number: usize) -> bool {
        let mut processes = lock(&self.processes);
        let process = number.checked_sub(1).and_then(|index| processes.get_mut(index));
        let is_killed =
            process.is_some_and(|process| process.is_running() && process.child.kill().is_ok());
        self.note(number, true, is_killed)
    }

    /// Starts a process in place of one that has ended. Returns false if there is no such place.
    pub(crate) fn restart(&self, number: usize) -> bool {
        let mut processes = lock(&self.processes);
        let process = number.checked_sub(1).and_then(|index| processes.get_mut(index));
        let is_started = process.is_some_and(|process| {
            let new = if process.is_running() { None } else { self.spawn().ok() };
            new.map(|new| *process = new).is_some()
        });
        self.note(number, false, is_started)
    }

    /// Keeps what has happened, if it has.
    fn note(&self, number: usize, is_kill: bool, has_happened: bool) -> bool {
        if has_happened {
            let mut events = lock(&self.events);
            if EVENTS_MAX <= events.len() {
                events.remove(0);
            }
            events.push(Event { slot: this_slot(), number, is_kill });
        }
        has_happened
    }

    /// Everything that the page shows.
    pub(crate) fn show(&self) -> Value {
        let processes: Vec<_> = lock(&self.processes).iter_mut().map(Process::show).collect();
        let events: Vec<_> = lock(&self.events).iter().map(Event::show).collect();
        let last = this_slot() - LATE;
        let record = lock(&self.record);
        json!({
            "limit": LIMIT,
            "window_seconds": WINDOW.as_secs(),
            "length_ms": self.terms.length.as_secs_f64() * 1e3,
            "held_max": self.terms.held_max,
            "excess_max": self.terms.excess_max,
            "requests_per_second": REQUESTS_PER_SECOND,
            "slot_ms": SLOT / 1_000,
            "last_slot": last,
            "admitted": record.counts(last),
            "most": record.most(),
            "events": events,
            "processes": processes,
        })
    }
}

impl Process {
    fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn show(&mut self) -> Value {
        let totals = *lock(&self.totals);
        json!({ "is_running": self.is_running(), "id": self.child.id(), "totals": totals })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Event {
    fn show(&self) -> Value {
        json!({ "slot": self.slot, "number": self.number, "is_kill": self.is_kill })
    }
}

/// Reads the reports of a process until it ends.
fn listen(output: ChildStdout, record: &Mutex<Record>, totals: &Mutex<Totals>) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        // The last line of a process that was killed may be cut short.
        let Ok(report) = serde_json::from_str::<Report>(&line) else { continue };
        *lock(totals) = report.totals;
        let mut record = lock(record);
        for (before, after, permits) in report.admitted {
            record.add(before, after, permits);
        }
    }
}

fn this_slot() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX) / SLOT
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Slots for which reports are awaited, before they are shown.
const LATE: u64 = 3;

const EVENTS_MAX: usize = 100;
