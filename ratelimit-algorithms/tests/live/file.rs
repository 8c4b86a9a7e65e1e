//! Limits in a file: what is read, what is refused and where, and what a reload changes.

use std::{fs, path::Path, sync::mpsc, time::Duration};

use ratelimit_algorithms::{
    CarryOver, ConfigError, FileError, FixedWindow, Limiter, LimitsFile, Micros, Policy,
    TokenBucket, UNLIMITED, WaitError,
};
use tempfile::TempDir;

use crate::{Outcome, store};

/// A file of limits in a directory of its own.
struct File {
    directory: TempDir,
    name: &'static str,
}

impl File {
    fn new(name: &'static str, text: &str) -> Self {
        let file = Self { directory: tempfile::tempdir().unwrap(), name };
        file.write(text);
        file
    }

    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join(self.name)
    }

    fn write(&self, text: &str) {
        fs::write(self.path(), text).unwrap();
    }

    /// As editors do, and who mounts configurations: a new file takes the name.
    fn replace(&self, text: &str) {
        let new = self.directory.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path()).unwrap();
    }

    fn open(&self) -> Result<LimitsFile, FileError> {
        LimitsFile::open(self.path())
    }
}

/// The line, the field and the message of what is wrong.
#[track_caller]
fn wrong(name: &'static str, text: &str) -> (usize, String, String) {
    match File::new(name, text).open() {
        Err(FileError::Invalid { line, field, source, .. }) => (line, field, source.to_string()),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn toml_and_json_are_read_alike() -> Outcome {
    let toml = File::new(
        "limits.toml",
        "api = '100/60s'\n[login]\nalgorithm = 'fixed_window'\nlimit = 5\nwindow = '1m30s'\n",
    );
    let json = File::new(
        "limits.json",
        r#"{"api": "100/60s",
            "login": {"algorithm": "fixed_window", "limit": 5, "window": "1m30s"}}"#,
    );
    for file in [toml, json] {
        let limits = file.open()?;
        let api = Policy::new("api", TokenBucket::per_minute(100))?;
        assert_eq!(limits.live("api")?.current(), api);
        let login = Policy::new("login", FixedWindow::per(5, Duration::from_secs(90)))?;
        assert_eq!(limits.live("login")?.current(), login);
        assert!(matches!(limits.live("else"), Err(FileError::Missing { .. })));
    }
    Ok(())
}

// FAULTS 19.
#[test]
fn what_is_wrong_is_refused_with_its_line_and_field() {
    for (toml, json, (toml_line, json_line), field, message) in INVALID {
        for (name, text, expected) in [("l.toml", toml, toml_line), ("l.json", json, json_line)] {
            let (line, found, said) = wrong(name, text);
            assert_eq!(line, expected, "{text}: {found}: {said}");
            assert!(field.is_empty() || field == found, "{text}: {found}: {said}");
            assert!(said.contains(message), "{text}: {found}: {said}");
            assert!(!said.is_empty() && !said.contains(" at line "), "{text}: {said}");
        }
    }
    let (line, _, message) = wrong("l.json", "{\"api\": \"1/1s\"}\n{}");
    assert_eq!((line, message.as_str()), (2, "trailing characters"));
}

/// The same fault in TOML and in JSON, its line in each, the field, and what is said of it.
type Invalid = (&'static str, &'static str, (usize, usize), &'static str, &'static str);

const INVALID: [Invalid; 14] = [
    ("api = '100/60'", r#"{"api": "100/60"}"#, (1, 1), "api", LENGTH),
    ("\napi = '100'", "{\n\"api\": \"100\"}", (2, 2), "api", "a limit is a number of permits"),
    ("api = 100", r#"{"api": 100}"#, (1, 1), "api", "invalid type: integer `100`, expected a l"),
    (
        "[api]\nlimit = 1\nwindow = 60",
        "{\"api\": {\n\"limit\": 1,\n\"window\": 60}}",
        (3, 3),
        "api.window",
        "invalid type: integer `60`, expected a length with its unit, as in \"60s\"",
    ),
    (
        "[api]\nlimit = 1\nwindow = '60'",
        "{\"api\": {\n\"limit\": 1,\n\"window\": \"60\"}}",
        (3, 3),
        "api.window",
        LENGTH,
    ),
    (
        "[api]\nwindow = '60s'\nlimit = -1",
        "{\"api\": {\n\"window\": \"60s\",\n\"limit\": -1}}",
        (3, 3),
        "api.limit",
        "invalid value: integer `-1`",
    ),
    (
        "[api]\nwindow = '60s'\nlimits = 1",
        "{\"api\": {\n\"window\": \"60s\",\n\"limits\": 1}}",
        (3, 3),
        "api.limits",
        "unknown field `limits`",
    ),
    ("[api]\nlimit = 1", "{\"api\": {\n\"limit\": 1}}", (1, 2), "api", "missing field `window`"),
    (
        "[api]\nalgorithm = 'gcra'",
        "{\"api\": {\n\"algorithm\": \"gcra\"}}",
        (2, 2),
        "api.algorithm",
        "unknown variant `gcra`",
    ),
    (
        "\n[api]\nlimit = 1\nwindow = '60s'\nalign = 'first'",
        "{\"api\": {\n\"limit\": 1,\n\"window\": \"60s\",\n\"align\": \"first\"}}",
        (2, 4),
        "api",
        "a token bucket has no align",
    ),
    (
        "ok = '1/1s'\n[api]\nlimit = 0\nwindow = '60s'",
        "{\"ok\": \"1/1s\",\n\"api\": {\"limit\": 0,\n\"window\": \"60s\"}}",
        (2, 3),
        "api",
        "limit is 0, the least is 1",
    ),
    ("api = '1/0s'", r#"{"api": "1/0s"}"#, (1, 1), "api", "window has no length"),
    ("api = '1/1s'\n[", "{\"api\": \"1/1s\",\n[", (2, 2), "", ""),
    ("api = '1/1s'\napi = '2/1s'", "{\"api\": \"1/1s\",\n\"api\": \"2/1s\"}", (2, 2), "", ""),
];

const LENGTH: &str =
    "a length is whole numbers with units of d, h, m, s, ms, us, as in 60s or 1m30s";

// FAULTS 11.
#[test]
fn a_bad_name_is_refused_where_it_stands() {
    let (line, field, message) = wrong("l.toml", "ok = '1/1s'\n\"a b\" = '1/1s'");
    assert_eq!((line, field.as_str()), (2, "a b"));
    assert!(message.starts_with("name is not 1 to 64 characters"), "{message}");
    for name in ["", "{}", "a\\r\\nb", "é", "A"] {
        let (_, _, message) = wrong("l.json", &format!("{{\"{name}\": \"1/1s\"}}"));
        assert!(message.starts_with("name is not 1 to 64 characters"), "{message}");
    }
}

#[test]
fn a_file_that_is_not_there_or_of_another_format_is_a_typed_error() {
    let missing = LimitsFile::open(Path::new("/nowhere/limits.toml"));
    assert!(matches!(missing, Err(FileError::Read { .. })));
    for name in ["limits.yaml", "limits", "limits.TOML"] {
        let error = File::new(name, "").open();
        assert!(matches!(error, Err(FileError::Format { .. })), "{name}");
    }
}

#[test]
fn an_invalid_file_changes_nothing() -> Outcome {
    let file = File::new("l.toml", "a = '10/1s'\nb = '10/1s'");
    let limits = file.open()?;
    let store = store().0;
    let a = Limiter::with_policies(store.clone(), limits.live("a")?)?;
    let b = Limiter::with_policies(store, limits.live("b")?)?;
    let both = || [a.policy("key").limit(), b.policy("key").limit()];

    for (text, reason) in [
        ("a = '20/1s'\nb = '20/1'", "l.toml, line 2, b: a length is"),
        ("a = '20/1s'\nb = '0/1s'", "l.toml, line 2, b: limit is 0"),
    ] {
        file.write(text);
        let error = limits.reload().expect_err(text).to_string();
        assert!(error.contains(reason), "{error}");
        assert_eq!(both(), [10, 10], "{text}");
    }
    fs::remove_file(file.path())?;
    assert!(matches!(limits.reload(), Err(FileError::Read { .. })));
    assert_eq!(both(), [10, 10]);

    file.write("a = '20/1s'\nb = '30/1s'\nc = '40/1s'");
    assert!(matches!(limits.live("c"), Err(FileError::Missing { .. })));
    limits.reload()?;
    assert_eq!(both(), [20, 30]);
    assert_eq!(limits.live("c")?.current().limit(), 40);
    Ok(())
}

/// The limits `a`, `b` and `c` are in use, `d` and `e` are not.
// FAULTS 17, 229.
#[test]
fn limits_that_cannot_change_are_told_one_by_one_and_the_rest_is_updated() -> Outcome {
    let file = File::new("l.toml", "a = '1/1s'\nb = '1/1s'\nc = '1/1s'\nd = '1/1s'\ne = '1/1s'");
    let limits = file.open()?;
    let [a, b, c] = ["a", "b", "c"].map(|name| limits.live(name).unwrap());

    let window = |name| format!("[{name}]\nalgorithm = 'fixed_window'\nlimit = 2\nwindow = '1s'\n");
    file.write(&format!("c = '2/1s'\nf = '2/1s'\n{}{}", window("b"), window("d")));
    let Err(FileError::Kept(errors)) = limits.reload() else { panic!("two cannot change") };
    assert!(matches!(&errors[..], [FileError::Missing { .. }, FileError::Change { .. }]));
    let told = FileError::Kept(errors).to_string().replace(&file.path().display().to_string(), "F");
    let why = "a fixed window cannot carry over what a token bucket has stored";
    assert!(told.starts_with(&format!("F has no limit a; F, b: {why}")), "{told}");
    assert_eq!([&a, &b, &c].map(|live| live.current().limit()), [1, 1, 2]);
    assert_eq!(limits.live("d")?.current().algorithm().name(), "fixed window");
    assert!(matches!(limits.live("e"), Err(FileError::Missing { .. })), "nobody uses it");
    assert_eq!(limits.live("f")?.current().limit(), 2);

    drop((a, b));
    limits.reload()?;
    assert_eq!(limits.live("b")?.current().limit(), 2);
    assert!(matches!(limits.live("a"), Err(FileError::Missing { .. })));
    Ok(())
}

// FAULTS 17.
#[test]
fn another_algorithm_comes_with_a_reload_where_keys_start_anew() -> Outcome {
    let file = File::new("l.toml", "a = '10/1d'");
    let kept = file.open()?;
    let anew = kept.clone().with_carry_over(CarryOver::Reset);
    let [by_kept, by_anew] = [&kept, &anew]
        .map(|limits| Limiter::with_policies(store().0, limits.live("a").unwrap()).unwrap());
    for limiter in [&by_kept, &by_anew] {
        assert!(limiter.check("key").cost(10).now()?.is_allowed());
    }
    file.write("b = '1/1s'\n[a]\nalgorithm = 'fixed_window'\nlimit = 20\nwindow = '1d'");
    let Err(FileError::Kept(errors)) = kept.reload() else { panic!("it cannot change") };
    assert!(matches!(
        errors[..],
        [FileError::Change { source: ConfigError::AlgorithmChange { .. }, .. }]
    ));
    anew.reload()?;
    assert_eq!(by_kept.peek("key").now()?.remaining, 0);
    assert_eq!(by_anew.peek("key").now()?.remaining, 20);
    assert_eq!(anew.live("b")?.current().carry_over(), CarryOver::Reset, "new ones as well");
    Ok(())
}

#[test]
fn a_watched_file_is_reloaded_however_it_is_replaced_until_the_watch_is_dropped() -> Outcome {
    let file = File::new("l.toml", "a = '10/1s'");
    let limits = file.open()?;
    let limit = limits.live("a")?;
    let (told, heard) = mpsc::channel();
    let watch = limits.watch(Duration::from_millis(1), move |outcome| {
        let _ = told.send(outcome.map_err(|error| error.to_string()));
    })?;
    let next = || heard.recv_timeout(Duration::from_secs(60));

    file.replace("a = '20/1s'");
    assert_eq!(next()?, Ok(()));
    assert_eq!(limit.current().limit(), 20);

    file.replace("a = '30/1'");
    let error = next()?.expect_err("a length without a unit");
    assert!(error.contains("l.toml, line 1, a: a length is"), "{error}");
    assert_eq!(limit.current().limit(), 20);

    fs::remove_file(file.path())?;
    let error = next()?.expect_err("no file");
    assert!(error.contains("cannot be read"), "{error}");

    file.replace("a = '40/1s'");
    assert_eq!(next()?, Ok(()));
    assert_eq!(limit.current().limit(), 40);

    drop(watch);
    assert!(matches!(next(), Err(mpsc::RecvTimeoutError::Disconnected)), "the thread has ended");
    file.replace("a = '50/1s'");
    assert_eq!(limit.current().limit(), 40);
    Ok(())
}

/// Whatever a limit was, it may be switched off, or have no bound, and become what it was.
// FAULTS 229.
#[test]
fn a_file_switches_limits_off_and_lifts_them() -> Outcome {
    let limits = "free = '10/1h'\npro = '20/1h'\n";
    let file = File::new("limits.toml", limits);
    let open = file.open()?;
    let store = store().0;
    let [free, pro] = ["free", "pro"].map(|name| open.live(name).unwrap());
    let free = Limiter::with_policies(store.clone(), free)?;
    let pro = Limiter::with_policies(store, pro)?;
    assert_eq!(free.check("key").cost(4).now()?.remaining, 6);
    assert_eq!(pro.check("key").cost(20).now()?.remaining, 0);

    file.write("free = '0'\npro = 'unlimited'\n");
    open.reload()?;
    let denial = free.check("key").cost(1_000).now()?;
    assert_eq!((denial.limit, denial.remaining, denial.retry_after()), (0, 0, Micros::MAX));
    assert!(matches!(free.until_ready("key").wait(), Err(WaitError::Denied(_))));
    let counted = pro.check("key").cost(1_000).now()?;
    assert!(counted.is_allowed() && counted.limit == UNLIMITED);

    file.write(limits);
    open.reload()?;
    assert_eq!(free.check("key").now()?.remaining, 5, "nothing was forgotten meanwhile");
    assert_eq!(pro.check("key").now()?.limit, 20);
    // It has become one algorithm, and is no other from now on.
    file.write("free = { algorithm = 'fixed_window', limit = 1, window = '1h' }\npro = '20/1h'\n");
    assert!(open.reload().is_err());
    Ok(())
}

#[test]
fn a_debt_in_a_file_changes_with_it() -> Outcome {
    let table =
        |debt_max| format!("tokens = {{ limit = 10, window = '60s', debt_max = {debt_max} }}");
    let file = File::new("limits.toml", &table(30));
    let limits = file.open()?;
    let limiter = Limiter::with_policies(store().0, limits.live("tokens")?)?;
    assert_eq!(limiter.policy("key").debt_max(), 30);
    let _ = limiter.penalize("key").cost(40).now()?;
    let denied = limiter.check("key").now()?;
    assert!(denied.is_in_debt());
    for debt_max in [0, 5] {
        file.write(&table(debt_max));
        limits.reload()?;
        assert_eq!(limiter.policy("key").debt_max(), debt_max);
        assert_eq!(limiter.check("key").now()?, denied, "a debt that there is stays");
    }
    Ok(())
}
