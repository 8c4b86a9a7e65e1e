//! A recorder that may be slow, on a thread of its own.

use std::{
    fmt, io,
    num::NonZeroUsize,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::Duration,
};

use ratelimit_backend::BackendError;
use ratelimit_core::{Action, Decision, Key, Policy};

use crate::{Event, Recorder, Verdict, counter::Counter, recorder::tell};

/// Hands events to `R` on a thread of its own, through a buffer of bounded size.
///
/// Whoever asks never waits: when the buffer is full, because `R` is slow or stuck, events are
/// dropped and counted. An event costs an allocation for the key, of which the first 1024 bytes are
/// kept; so the memory is bounded as well.
///
/// The thread ends when this is dropped and the buffer is empty.
pub struct Buffered<R> {
    sender: SyncSender<Message>,
    shared: Arc<Shared<R>>,
}

struct Shared<R> {
    recorder: R,
    dropped: Counter,
}

enum Message {
    Event(Kept),
    Flush(SyncSender<()>),
}

impl<R: Recorder + 'static> Buffered<R> {
    /// `recorder` behind a buffer of `capacity` events.
    ///
    /// # Errors
    ///
    /// If the system starts no thread.
    pub fn new(recorder: R, capacity: NonZeroUsize) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(capacity.get());
        let shared = Arc::new(Shared { recorder, dropped: Counter::default() });
        let theirs = Arc::clone(&shared);
        thread::Builder::new()
            .name("ratelimit-metrics".to_owned())
            .spawn(move || theirs.run(&receiver))?;
        Ok(Self { sender, shared })
    }

    /// The recorder.
    #[must_use]
    pub fn get_ref(&self) -> &R {
        &self.shared.recorder
    }

    /// How many events the recorder took no note of: because the buffer was full, or because it
    /// panicked.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.get()
    }

    /// Waits until the recorder has seen all that was put into the buffer so far: at the end of a
    /// program, or in a test. Takes as long as the recorder takes.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.sender.send(Message::Flush(done)).is_ok() {
            // An error says that the thread is gone, and with it what would be waited for.
            let _ = wait.recv();
        }
    }
}

impl<R: Recorder> Shared<R> {
    fn run(&self, receiver: &Receiver<Message>) {
        for message in receiver {
            match message {
                Message::Event(kept) => {
                    let is_noted = kept.with_event(|event| tell(&self.recorder, event));
                    if !is_noted {
                        self.dropped.increment();
                    }
                }
                // Who waited may have given up.
                Message::Flush(done) => drop(done.send(())),
            }
        }
    }
}

impl<R: Recorder> Recorder for Buffered<R> {
    fn record(&self, event: &Event<'_>) {
        match self.sender.try_send(Message::Event(Kept::of(event))) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.shared.dropped.increment();
            }
        }
    }
}

impl<R> fmt::Debug for Buffered<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dropped = self.shared.dropped.get();
        f.debug_struct("Buffered").field("dropped", &dropped).finish_non_exhaustive()
    }
}

/// An event that outlives its call.
struct Kept {
    policy: Policy,
    key: Box<[u8]>,
    cost: u64,
    action: Action,
    answer: Result<Decision, BackendError>,
    verdict: Verdict,
    call: Verdict,
    index: usize,
    latency: Option<Duration>,
}

impl Kept {
    fn of(event: &Event<'_>) -> Self {
        let Event { policy, key, cost, action, answer, verdict, call, index, latency } = *event;
        let key = key.as_bytes();
        let key = key[..key.len().min(KEY_BYTES_MAX)].into();
        let answer = answer.copied().map_err(Clone::clone);
        Self { policy: policy.clone(), key, cost, action, answer, verdict, call, index, latency }
    }

    fn with_event<T>(&self, then: impl FnOnce(&Event<'_>) -> T) -> T {
        let Self { policy, key, cost, action, answer, verdict, call, index, latency } = self;
        let key = Key::new(key).expect("1024 bytes are fewer than the most");
        then(&Event {
            policy,
            key,
            cost: *cost,
            action: *action,
            answer: answer.as_ref(),
            verdict: *verdict,
            call: *call,
            index: *index,
            latency: *latency,
        })
    }
}

/// Longer than any sensible key. Who sends a megabyte gets no megabyte kept.
const KEY_BYTES_MAX: usize = 1024;
