//! Everything that is said, by whatever way.

use std::{
    error::Error,
    fmt::{Debug, Write as _},
    sync::{Arc, Mutex},
};

use metrics_util::debugging::{DebuggingRecorder, Snapshotter};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// Everything that was said.
pub(crate) struct Said {
    text: Text,
    metrics: Snapshotter,
}

impl Said {
    /// Hears all that is logged, traced or measured in this process from now on.
    pub(crate) fn listen() -> Self {
        let text = Text::default();
        log::set_boxed_logger(Box::new(text.clone())).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
        tracing::subscriber::set_global_default(text.clone()).unwrap();
        let recorder = DebuggingRecorder::new();
        let metrics = recorder.snapshotter();
        recorder.install().unwrap();
        Self { text, metrics }
    }

    pub(crate) fn note(&self, what: &str, bytes: &[u8]) {
        self.text.note(&format!("{what}: {}", String::from_utf8_lossy(bytes)));
    }

    pub(crate) fn debug(&self, it: &impl Debug) {
        self.text.note(&format!("{it:?} {it:#?}"));
    }

    /// An error, and what caused it.
    pub(crate) fn error(&self, error: &(dyn Error + 'static)) {
        let mut next = Some(error);
        while let Some(error) = next {
            self.text.note(&format!("{error} {error:?} {error:#?}"));
            next = error.source();
        }
    }

    pub(crate) fn has(&self, sign: &str) -> bool {
        self.all().contains(sign)
    }

    /// Neither as text nor as the numbers of its bytes.
    pub(crate) fn never(&self, secret: &str) {
        let all = self.all();
        let decimal = format!("{:?}", secret.as_bytes());
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        for form in [secret, decimal.trim_matches(['[', ']']), &hex] {
            let before = all.split_once(form).map(|(before, _)| before);
            let before = before.map(|before| before.chars().rev().take(300).collect::<Vec<_>>());
            let before = before.map(|before| before.into_iter().rev().collect::<String>());
            assert_eq!(before, None, "{form}");
        }
    }

    fn all(&self) -> String {
        let text = self.text.0.lock().unwrap();
        format!("{text}{:?}", self.metrics.snapshot().into_vec())
    }
}

/// A logger, and a subscriber of events and spans.
#[derive(Clone, Default)]
struct Text(Arc<Mutex<String>>);

impl Text {
    fn note(&self, line: &str) {
        let mut text = self.0.lock().unwrap();
        text.push_str(line);
        text.push('\n');
    }
}

impl log::Log for Text {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        self.note(&format!("{} {}", record.target(), record.args()));
    }

    fn flush(&self) {}
}

impl Subscriber for Text {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        let mut line = Line(span.metadata().name().to_owned());
        span.record(&mut line);
        self.note(&line.0);
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        let mut line = Line(String::new());
        values.record(&mut line);
        self.note(&line.0);
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().target().to_owned());
        event.record(&mut line);
        self.note(&line.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}
