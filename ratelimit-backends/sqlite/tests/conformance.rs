//! SQLite keeps every promise of a store, in memory and in a file.

use std::time::Duration;

use ratelimit_conformance::{Effort, processes, suite};
use ratelimit_servers::effort;
use ratelimit_sqlite::SqliteSettings;

/// Longer than any test has to wait, however busy the machine is.
const A_MINUTE: Duration = Duration::from_secs(60);

mod in_memory {
    use super::*;

    suite!(
        async |clock| {
            let settings = SqliteSettings::in_memory().with_deadline(A_MINUTE);
            settings.with_clock(clock).open().unwrap()
        },
        traces()
    );
}

mod in_a_file {
    use std::{
        fs,
        path::Path,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    /// Files outlive the suite's tests, and are replaced by those of its next run.
    fn new_file() -> SqliteSettings {
        static FILES: AtomicUsize = AtomicUsize::new(0);

        let name = format!("conformance-{}.db", FILES.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        for companion in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{companion}", path.display()));
        }
        SqliteSettings::file(path).with_deadline(A_MINUTE)
    }

    suite!(async |clock| new_file().with_clock(clock).open().unwrap(), traces());

    processes!(
        || {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("limits.db").display().to_string();
            Some((folder, file))
        },
        async |file| SqliteSettings::file(file).with_deadline(A_MINUTE).open().unwrap(),
    );
}

fn traces() -> Effort {
    Effort::new().with_trace_steps(effort(100_000, 500))
}
