//! The store under test, in a folder of its own, and the few words that the tests are made of.

use std::{
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use ratelimit_algorithms::{
    Align, BackendError, Decision, Effect, Error, ErrorKind, FixedWindow, Limiter,
};
use ratelimit_sqlite::{Sqlite, SqliteSettings};
use rusqlite::Connection;
use tempfile::TempDir;

/// A folder for one test's file.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The file.
    pub(crate) fn file(&self) -> PathBuf {
        self.path().join("limits.db")
    }

    /// The file's write-ahead log.
    pub(crate) fn log(&self) -> PathBuf {
        self.path().join("limits.db-wal")
    }

    /// SqliteSettings whose deadline no test ever reaches by chance.
    pub(crate) fn settings(&self) -> SqliteSettings {
        SqliteSettings::file(self.file()).with_deadline(A_MINUTE)
    }

    pub(crate) fn open(&self) -> Sqlite {
        self.settings().open().unwrap()
    }

    /// A connection of somebody else's.
    pub(crate) fn stranger(&self) -> Connection {
        Connection::open(self.file()).unwrap()
    }

    /// The number of rows, as somebody else sees it.
    pub(crate) fn rows(&self) -> u32 {
        self.stranger().query_row("SELECT count(*) FROM record", [], |row| row.get(0)).unwrap()
    }

    /// The number of the file's pages, with those that are free.
    pub(crate) fn pages(&self) -> u32 {
        self.stranger().pragma_query_value(None, "page_count", |row| row.get(0)).unwrap()
    }

    /// The number of segments of logs, as somebody else sees it.
    pub(crate) fn segments(&self) -> u32 {
        let segments = "SELECT count(*) FROM segment WHERE level = 0";
        self.stranger().query_row(segments, [], |row| row.get(0)).unwrap()
    }

    /// Checks that the file is whole, that its total is right, and that no segment is nobody's.
    #[track_caller]
    pub(crate) fn verify(&self) {
        let stranger = self.stranger();
        let verdict: String =
            stranger.pragma_query_value(None, "integrity_check", |row| row.get(0)).unwrap();
        assert_eq!(verdict, "ok");
        let total: u32 =
            stranger.query_row("SELECT records FROM total", [], |row| row.get(0)).unwrap();
        assert_eq!(total, self.rows());
        let strays = "SELECT count(*) FROM segment \
            WHERE record NOT IN (SELECT id FROM record WHERE outline IS NOT NULL)";
        let strays: u32 = stranger.query_row(strays, [], |row| row.get(0)).unwrap();
        assert_eq!(strays, 0);
    }
}

pub(crate) const A_MINUTE: Duration = Duration::from_secs(60);

/// A limiter of `limit` permits that do not come back while a test runs.
pub(crate) fn limiter(store: &Sqlite, limit: u64) -> Limiter<Sqlite> {
    let permits = FixedWindow::per_day(limit).align(Align::First);
    Limiter::new(store.clone(), "permits", permits).unwrap()
}

/// Spends permits that there are.
#[track_caller]
pub(crate) fn spend(limiter: &Limiter<Sqlite>, key: impl AsRef<[u8]>, permits: u64) {
    assert!(limiter.check(&key).cost(permits).now().unwrap().is_allowed());
}

/// The permits left of `key`.
pub(crate) fn left(limiter: &Limiter<Sqlite>, key: &str) -> u64 {
    limiter.peek(key).now().unwrap().remaining
}

/// The answer that an async caller waits for.
pub(crate) type Call<'a> = Pin<Box<dyn Future<Output = Result<Decision, Error>> + 'a>>;

/// Asks without waiting for the answer.
pub(crate) fn poll(call: &mut Call<'_>) -> Poll<Result<Decision, Error>> {
    call.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// Waits for the answer, without a runtime.
pub(crate) fn wait(mut call: Call<'_>) -> Result<Decision, Error> {
    loop {
        match poll(&mut call) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => thread::yield_now(),
        }
    }
}

/// Checks that something failed like this, and left nothing behind.
#[track_caller]
pub(crate) fn assert_fails<T>(result: Result<T, impl Into<Error>>, kind: ErrorKind) {
    let error = backend_error(result);
    assert_eq!((error.kind(), error.effect()), (kind, Effect::NotApplied), "{error:?}");
}

/// The store's error.
#[track_caller]
pub(crate) fn backend_error<T>(result: Result<T, impl Into<Error>>) -> BackendError {
    match result.err().map(Into::into) {
        Some(Error::Backend(error)) => error,
        other => panic!("expected an error of the store, found {other:?}"),
    }
}
