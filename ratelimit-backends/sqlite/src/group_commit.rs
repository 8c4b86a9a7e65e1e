//! The store: transactions of one batch or many, and the tidying between them.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use ratelimit_backend::{BackendError, Clock, ErrorKind};
use ratelimit_core::{Action, Batch};
use rusqlite::Connection;

use crate::{
    Settings,
    busy::{due_after, patiently},
    database::Database,
    error::Failure,
    job::{Answer, Job},
    rows::Rows,
    purge::Walk,
};

/// What the writer needs to answer jobs.
pub(crate) struct Store {
    database: Database,
    clock: Arc<dyn Clock>,
    keys_max: u64,
    walk: Walk,
}

/// How a transaction begins.
#[derive(Clone, Copy)]
enum Begin {
    /// Waits for no lock, and takes none that others wait for.
    Read,
    /// Takes the write lock first of all: a lock taken after reading could come too late.
    Write,
}

impl Store {
    pub(crate) fn open(settings: Settings) -> Result<Self, BackendError> {
        let Settings { path, synchronous, keys_max, clock, .. } = settings;
        let keys_max = u64::try_from(keys_max.get()).unwrap_or(u64::MAX);
        let database = Database::open(path, synchronous, due_after(OPEN_DEADLINE))?;
        Ok(Self { database, clock, keys_max, walk: Walk::default() })
    }

    /// Applies one batch in a transaction of its own.
    pub(crate) fn apply(&mut self, batch: Batch<'_>, action: Action, due: Instant) -> Answer {
        let begin = if action == Action::Peek { Begin::Read } else { Begin::Write };
        self.transact(begin, due, |rows| rows.apply(batch, action))
    }

    /// Answers all jobs: the peeks, which wait for no lock, in one transaction, the rest in
    /// another, each in order.
    pub(crate) fn answer(&mut self, jobs: VecDeque<Job>) {
        let (peeks, others) = jobs.into_iter().partition(|job| job.action() == Action::Peek);
        self.answer_in(Begin::Read, peeks);
        self.answer_in(Begin::Write, others);
    }

    fn answer_in(&mut self, begin: Begin, mut jobs: VecDeque<Job>) {
        while let Some(first) = jobs.front() {
            let due = first.due();
            let answers = self.transact(begin, due, |rows| {
                let mut answers = Vec::with_capacity(jobs.len());
                for job in &jobs {
                    answers.push(match job.apply(rows) {
                        Ok(decisions) => decisions.map(Ok),
                        Err(Failure::Refused(error)) => Some(Err(error)),
                        Err(failure) => return Err(failure),
                    });
                }
                Ok(answers)
            });
            match answers {
                Ok(answers) => {
                    for (job, answer) in jobs.drain(..).zip(answers) {
                        if let Some(answer) = answer {
                            job.answer(answer);
                        }
                    }
                }
                Err(error) => {
                    let failed = failed(&error, &jobs);
                    jobs.drain(..failed).for_each(|job| job.answer(Err(error.clone())));
                }
            }
        }
    }

    /// Runs `work` in a transaction, again and again until `due` while others are in its way.
    fn transact<T>(
        &mut self,
        begin: Begin,
        due: Instant,
        mut work: impl FnMut(&mut Rows<'_>) -> Result<T, Failure>,
    ) -> Result<T, BackendError> {
        let Self { database, clock, keys_max, walk } = self;
        let connection = database.connection(due)?;
        let value = patiently(due, || {
            let transaction = Transaction::begin(connection, begin)?;
            // Read under the write lock, so that times are in the order of the transactions.
            let now = clock.now()?;
            let value = work(&mut Rows::new(connection, walk, now, *keys_max))?;
            transaction.commit()?;
            walk.pass(now);
            Ok(value)
        });
        value.map_err(|failure| database.explain(failure))
    }

    /// Whether there is something to tidy up.
    pub(crate) fn is_untidy(&self) -> bool {
        self.walk.is_due() || self.database.is_log_long()
    }

    /// Drops some expired records, and writes the log back. It waits for nobody: what fails is left
    /// for the next time.
    pub(crate) fn tidy(&mut self) {
        if self.walk.is_due() {
            self.walk.rest();
            let _ = self.transact(Begin::Write, Instant::now(), |rows| rows.purge());
        }
        if self.database.is_log_long() {
            self.database.write_log_back();
        }
    }

    pub(crate) fn close(&mut self) {
        self.database.close();
    }
}

/// How many of the jobs an error concerns: if time is up, it is so for those that are due.
fn failed(error: &BackendError, jobs: &VecDeque<Job>) -> usize {
    if error.kind() != ErrorKind::Timeout {
        return jobs.len();
    }
    let now = Instant::now();
    jobs.iter().take_while(|job| job.due() <= now).count().max(1)
}

/// A transaction that is rolled back unless it is committed, also by a panic.
struct Transaction<'a>(&'a Connection);

impl<'a> Transaction<'a> {
    fn begin(connection: &'a Connection, begin: Begin) -> Result<Self, Failure> {
        let begin = match begin {
            Begin::Read => "BEGIN",
            Begin::Write => "BEGIN IMMEDIATE",
        };
        connection.prepare_cached(begin)?.execute([])?;
        Ok(Self(connection))
    }

    fn commit(self) -> Result<(), Failure> {
        self.0.prepare_cached("COMMIT")?.execute([]).map_err(Failure::Commit)?;
        Ok(())
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.0.is_autocommit() {
            // If even that fails, the connection is replaced.
            let _ = self.0.execute_batch("ROLLBACK");
        }
    }
}

/// Long enough for another process to make the tables.
const OPEN_DEADLINE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use ratelimit_backend::{Effect, ManualClock};
    use ratelimit_core::{Check, Key, Micros, Policy, fixed_window, sliding_window_log};
    use rusqlite::StatementStatus;
    use tempfile::TempDir;

    use super::*;
    use crate::long_log::segments;

    // FAULTS 179.
    #[test]
    fn a_full_disk_is_full_until_there_is_space_again() {
        let (_folder, mut store) = store();
        let policy = policy();
        let spend = |store: &mut Store, key: u32| {
            let key = key.to_be_bytes().repeat(1_000);
            let check = Check::new(&policy, Key::new(&key).unwrap(), 1).unwrap();
            let decisions = store.apply(Batch::one(&check), Action::Spend, due_after(DEADLINE));
            decisions.map(|decisions| decisions[0].remaining)
        };
        assert_eq!(spend(&mut store, 0).unwrap(), 9);
        limit_pages(&mut store, 20);

        let full = (1..).find_map(|key| spend(&mut store, key).err().map(|error| (key, error)));
        let (key, error) = full.unwrap();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Full, Effect::NotApplied));
        assert_eq!(spend(&mut store, 0).unwrap(), 8, "what needs no space goes on");

        limit_pages(&mut store, 1_000);
        assert_eq!(spend(&mut store, key).unwrap(), 9);
        assert_eq!(spend(&mut store, 0).unwrap(), 7);
    }

    // FAULTS 189.
    #[test]
    fn a_transaction_that_cannot_be_rolled_back_costs_the_connection_only() {
        let (_folder, mut store) = store();
        let policy = policy();
        let check = Check::new(&policy, Key::new("key").unwrap(), 1).unwrap();
        let spend = |store: &mut Store| {
            store.apply(Batch::one(&check), Action::Spend, due_after(DEADLINE)).unwrap()[0]
        };
        assert_eq!(spend(&mut store).remaining, 9);
        let connection = store.database.connection(due_after(DEADLINE)).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE; DELETE FROM record").unwrap();
        assert_eq!(spend(&mut store).remaining, 8);
    }

    /// Of a log of so many entries, each a microsecond after the one before.
    #[test]
    fn whatever_a_decision_depends_on_is_found_in_few_steps() {
        for entries in [1_000, 10_000] {
            let folder = tempfile::tempdir().unwrap();
            let clock = ManualClock::default();
            let settings = Settings::file(folder.path().join("limits.db"));
            let mut store = Store::open(settings.with_clock(clock.clone())).unwrap();
            let window = Duration::from_micros(2 * entries);
            let quota = sliding_window_log::Quota::new(entries, window).unwrap();
            let policy = Policy::new("log", quota).unwrap();
            let mut read = |action, cost| {
                let check = Check::new(&policy, Key::new("key").unwrap(), cost).unwrap();
                let answer = store.apply(Batch::one(&check), action, due_after(DEADLINE));
                let connection = store.database.connection(due_after(DEADLINE)).unwrap();
                let select = connection.prepare_cached(segments::SELECT).unwrap();
                (answer.unwrap()[0].is_allowed(), select.reset_status(StatementStatus::Run))
            };
            for _ in 0..entries {
                assert!(read(Action::Spend, 1).1 <= 1);
                clock.advance(Micros::new(1));
            }
            let doublings = entries.ilog2().cast_signed();
            for cost in (1..=entries).step_by(97) {
                let (is_allowed, segments) = read(Action::Peek, cost);
                assert!(!is_allowed && segments <= doublings, "{segments} of {entries}: {cost}");
            }
            clock.advance(Micros::new(2 * entries - 2));
            assert!(read(Action::Peek, 1).1 <= doublings, "all but the newest entry have left");
        }
    }

    const DEADLINE: Duration = Duration::from_secs(60);

    fn store() -> (TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::file(folder.path().join("limits.db"));
        let store = Store::open(settings.with_clock(ManualClock::default())).unwrap();
        (folder, store)
    }

    fn policy() -> Policy {
        let window = Duration::from_secs(1);
        let quota = fixed_window::Quota::new(10, window, fixed_window::Align::Epoch).unwrap();
        Policy::new("permits", quota).unwrap()
    }

    fn limit_pages(store: &mut Store, pages: i32) {
        let connection = store.database.connection(due_after(DEADLINE)).unwrap();
        connection.pragma_update(None, "max_page_count", pages).unwrap();
    }
}
