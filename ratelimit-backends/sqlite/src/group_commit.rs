//! The group commit: all decisions that wait for the file are one transaction.
//!
//! A transaction for many costs hardly more than for one. Each job of a group is decided by itself,
//! in order: one that is refused has written nothing, and the others go on without it.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use ratelimit_backend::{BackendError, Clock, Effect, ErrorKind};
use ratelimit_core::{Action, Batch};
use rusqlite::Connection;

use crate::{
    SqliteSettings,
    busy::{deadline_after, retry_while_busy},
    database::Database,
    error::Failure,
    job::{Answer, Job},
    purge::Purge,
    rows::Rows,
};

/// Applies batches in transactions, and tidies up between them.
pub(crate) struct Committer {
    database: Database,
    clock: Arc<dyn Clock>,
    keys_max: u64,
    purge: Purge,
}

/// The way a transaction begins.
#[derive(Clone, Copy)]
enum Begin {
    /// Waits for no lock, and takes none that others wait for.
    Read,
    /// Takes the write lock first of all: a lock taken after reading could come too late.
    Write,
}

impl Committer {
    pub(crate) fn open(settings: SqliteSettings) -> Result<Self, BackendError> {
        let SqliteSettings { path, synchronous, keys_max, clock, .. } = settings;
        let keys_max = u64::try_from(keys_max.get()).unwrap_or(u64::MAX);
        let database = Database::open(path, synchronous, deadline_after(OPENING_MAX))?;
        Ok(Self { database, clock, keys_max, purge: Purge::default() })
    }

    /// Applies one batch in a transaction of its own.
    pub(crate) fn apply(&mut self, batch: Batch<'_>, action: Action, deadline: Instant) -> Answer {
        self.transact(Begin::of(action), deadline, |rows| rows.apply(batch, action))
    }

    /// Answers all jobs: the peeks, which wait for no lock, in one transaction, and the others in
    /// another one, each in order.
    pub(crate) fn answer(&mut self, jobs: VecDeque<Job>) {
        let (peeks, others) = jobs.into_iter().partition(|job| job.action == Action::Peek);
        self.answer_in(Begin::Read, peeks);
        self.answer_in(Begin::Write, others);
    }

    fn answer_in(&mut self, begin: Begin, mut jobs: VecDeque<Job>) {
        while let Some(first) = jobs.front() {
            match self.transact(begin, first.deadline, |rows| apply_all(&jobs, rows)) {
                Ok(answers) => {
                    for (job, answer) in jobs.drain(..).zip(answers) {
                        if let Some(answer) = answer {
                            job.answer(answer);
                        }
                    }
                }
                Err(error) if 1 < jobs.len() && is_of_one(&error) => {
                    for job in jobs.drain(..) {
                        self.answer_in(begin, [job].into());
                    }
                }
                Err(error) => {
                    let failed = failed(&error, &jobs);
                    jobs.drain(..failed).for_each(|job| job.answer(Err(error.clone())));
                }
            }
        }
    }

    /// Runs `work` in a transaction, repeatedly until `deadline` while others hold a lock.
    fn transact<T>(
        &mut self,
        begin: Begin,
        deadline: Instant,
        mut work: impl FnMut(&mut Rows<'_>) -> Result<T, Failure>,
    ) -> Result<T, BackendError> {
        let Self { database, clock, keys_max, purge } = self;
        let connection = database.connection(deadline)?;
        let value = retry_while_busy(deadline, || {
            let transaction = Transaction::begin(connection, begin)?;
            // Read under the write lock, so that times are in the order of the transactions.
            let now = clock.now()?;
            let time = (now, clock.retention());
            let value = work(&mut Rows::new(connection, purge, time, *keys_max))?;
            transaction.commit()?;
            purge.pass(now);
            Ok(value)
        });
        value.map_err(|failure| database.explain(failure))
    }

    /// Returns true if there is something to tidy up.
    pub(crate) fn is_untidy(&self) -> bool {
        self.purge.is_due() || self.database.is_wal_long()
    }

    /// Drops some expired records, and writes the write-ahead log back. It waits for nobody: a step
    /// that fails is left for the next time.
    pub(crate) fn tidy(&mut self) {
        if self.purge.is_due() {
            self.purge.rest();
            let _ = self.transact(Begin::Write, Instant::now(), |rows| rows.purge());
        }
        if self.database.is_wal_long() {
            self.database.write_wal_back();
        }
    }

    /// Lets go of a file that has been deleted or replaced.
    pub(crate) fn look(&mut self) {
        self.database.look();
    }

    pub(crate) fn close(&mut self) {
        self.database.close();
    }
}

/// Applies each job; gives no answer to those whose caller has left, and stops at the first failure
/// that fails the transaction.
fn apply_all(jobs: &VecDeque<Job>, rows: &mut Rows<'_>) -> Result<Vec<Option<Answer>>, Failure> {
    let mut answers = Vec::with_capacity(jobs.len());
    for job in jobs {
        answers.push(match job.apply(rows) {
            Ok(decisions) => decisions.map(Ok),
            Err(Failure::Refused(error)) => Some(Err(error)),
            Err(failure) => return Err(failure),
        });
    }
    Ok(answers)
}

/// Returns true if one job of a group may have failed all of them. Nothing was charged then.
fn is_of_one(error: &BackendError) -> bool {
    error.effect() == Effect::NotApplied
        && matches!(error.kind(), ErrorKind::Full | ErrorKind::Corrupt)
}

/// Counts the jobs that an error concerns: a timeout concerns those whose time is up.
fn failed(error: &BackendError, jobs: &VecDeque<Job>) -> usize {
    if error.kind() != ErrorKind::Timeout {
        return jobs.len();
    }
    let now = Instant::now();
    jobs.iter().take_while(|job| job.deadline <= now).count().max(1)
}

impl Begin {
    fn of(action: Action) -> Self {
        if action == Action::Peek { Self::Read } else { Self::Write }
    }
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
const OPENING_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use ratelimit_backend::ManualClock;
    use ratelimit_core::{Check, Key, Micros, Policy, Receipt, fixed_window, sliding_window_log};
    use rusqlite::StatementStatus;
    use tempfile::TempDir;

    use super::*;
    use crate::long_log::segments;

    // FAULTS 179.
    #[test]
    fn a_full_disk_is_full_until_there_is_space_again() {
        let (_folder, mut store) = store();
        let policy = policy();
        let spend = |store: &mut Committer, key: u32| {
            let key = key.to_be_bytes().repeat(1_000);
            let check = Check::new(&policy, Key::new(&key).unwrap(), 1).unwrap();
            let decisions =
                store.apply(Batch::one(&check), Action::Spend, deadline_after(DEADLINE));
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

    // FAULTS 179.
    #[test]
    fn a_full_disk_fails_only_the_jobs_that_need_space() {
        let (_folder, mut store) = store();
        let policy = policy();
        let ask = |store: &mut Committer, keys: &[&[u8]]| {
            let (mut jobs, mut answers) = (VecDeque::new(), Vec::new());
            for key in keys {
                let check = Check::new(&policy, Key::new(key).unwrap(), 1).unwrap();
                let deadline = deadline_after(DEADLINE);
                let (job, answer) = Job::new(Batch::one(&check), Action::Spend, deadline);
                jobs.push_back(job);
                answers.push(answer);
            }
            store.answer(jobs);
            let left = |answer: Answer| answer.map(|decisions| decisions[0].remaining);
            let answers = answers.into_iter().map(|answer| left(answer.recv().unwrap().deliver()));
            answers.map(|answer| answer.map_err(|error| error.kind())).collect::<Vec<_>>()
        };
        assert_eq!(ask(&mut store, &[b"a", b"b"]), [Ok(9), Ok(9)]);
        limit_pages(&mut store, 1);
        let many = (0..60_u32).map(|key| key.to_be_bytes().repeat(25)).collect::<Vec<_>>();
        let mut keys: Vec<&[u8]> = many.iter().map(Vec::as_slice).collect();
        keys.insert(0, b"a");
        keys.push(b"b");
        let answers = ask(&mut store, &keys);
        assert_eq!((answers[0], answers[61]), (Ok(8), Ok(8)), "these need no space");
        assert!(answers.contains(&Err(ErrorKind::Full)));
    }

    // FAULTS 189.
    #[test]
    fn a_transaction_that_cannot_be_rolled_back_costs_the_connection_only() {
        let (_folder, mut store) = store();
        let policy = policy();
        let check = Check::new(&policy, Key::new("key").unwrap(), 1).unwrap();
        let spend = |store: &mut Committer| {
            store.apply(Batch::one(&check), Action::Spend, deadline_after(DEADLINE)).unwrap()[0]
        };
        assert_eq!(spend(&mut store).remaining, 9);
        let connection = store.database.connection(deadline_after(DEADLINE)).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE; DELETE FROM record").unwrap();
        assert_eq!(spend(&mut store).remaining, 8);
    }

    /// Of a log of so many entries, each a microsecond after the one before.
    #[test]
    fn a_call_reads_and_writes_few_rows_of_a_log_of_any_length() {
        for entries in [1_000, 10_000] {
            let folder = tempfile::tempdir().unwrap();
            let clock = ManualClock::default();
            let settings = SqliteSettings::file(folder.path().join("limits.db"));
            let mut store = Committer::open(settings.with_clock(clock.clone())).unwrap();
            let quota = |limit| {
                sliding_window_log::Quota::new(limit, Duration::from_micros(2 * entries)).unwrap()
            };
            let policy = Policy::new("log", quota(entries)).unwrap();
            let more = Policy::new("log", quota(entries + 1)).unwrap();
            let mut rows = |action, policy: &Policy, cost, receipt| {
                let check = Check::new(policy, Key::new("key").unwrap(), cost).unwrap();
                let check = check.with_receipt(receipt);
                let answer = store.apply(Batch::one(&check), action, deadline_after(DEADLINE));
                let connection = store.database.connection(deadline_after(DEADLINE)).unwrap();
                let runs = [segments::SELECT, segments::INSERT].map(|statement| {
                    let statement = connection.prepare_cached(statement).unwrap();
                    statement.reset_status(StatementStatus::Run)
                });
                (answer.unwrap()[0], runs)
            };
            let mut receipts = Vec::new();
            for _ in 0..entries {
                let (decision, [reads, writes]) = rows(Action::Spend, &policy, 1, None);
                // The first time there are several segments to write.
                assert!(decision.is_allowed() && reads <= LEVELS && writes <= 2 * LEVELS);
                receipts.push(Receipt::of(&decision, &policy, 1));
                clock.advance(Micros::new(1));
            }
            for cost in (1..=entries).step_by(97) {
                let (decision, [reads, _]) = rows(Action::Peek, &policy, cost, None);
                assert!(!decision.is_allowed() && reads <= 2 * LEVELS, "{reads} reads: {cost}");
            }
            for receipt in receipts.into_iter().step_by(97) {
                let (_, [reads, writes]) = rows(Action::Refund, &policy, 1, Some(receipt));
                assert!(reads <= 2 * LEVELS && writes <= LEVELS, "{reads}, {writes}");
            }
            // Changed numbers keep a log as so many sums; those that change while still others count read
            // all of it.
            let [few, sums] = [2 * LEVELS, 2 * (LEVELS + SUMS)];
            let all = sums + i32::try_from(entries / 32).unwrap();
            for (action, policy, reads_max) in [
                (Action::Refund, &policy, few),
                (Action::Penalize, &policy, few),
                (Action::Spend, &more, sums),
                (Action::Spend, &policy, all),
                (Action::Block(Micros::new(1)), &policy, few),
            ] {
                let (_, [reads, writes]) = rows(action, policy, 1, None);
                assert!(
                    reads <= reads_max && writes <= reads_max / 2,
                    "{action:?}: {reads}, {writes}"
                );
            }
            clock.advance(Micros::new(2 * entries - 2));
            let (_, [reads, _]) = rows(Action::Peek, &policy, 1, None);
            assert!(reads <= 2 * LEVELS, "all but the newest entry have left: {reads}");
        }
    }

    /// Of segments and nodes above these entries.
    const LEVELS: i32 = 3;

    /// Of the log that earlier numbers have left.
    const SUMS: i32 = 32;

    const DEADLINE: Duration = Duration::from_secs(60);

    fn store() -> (TempDir, Committer) {
        let folder = tempfile::tempdir().unwrap();
        let settings = SqliteSettings::file(folder.path().join("limits.db"));
        let store = Committer::open(settings.with_clock(ManualClock::default())).unwrap();
        (folder, store)
    }

    fn policy() -> Policy {
        let window = Duration::from_secs(1);
        let quota = fixed_window::Quota::new(10, window, fixed_window::Align::Epoch).unwrap();
        Policy::new("permits", quota).unwrap()
    }

    fn limit_pages(store: &mut Committer, pages: i32) {
        let connection = store.database.connection(deadline_after(DEADLINE)).unwrap();
        connection.pragma_update(None, "max_page_count", pages).unwrap();
    }
}
