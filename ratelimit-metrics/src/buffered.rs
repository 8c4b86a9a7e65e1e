//! A recorder behind a buffer, on a thread of its own.

use std::{
    fmt, io,
    num::NonZeroUsize,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use ratelimit_core::Policy;

use crate::{Event, Recorder, counter::Counter, event::OwnedEvent, recorder::is_noted};

/// Hands events to `R` on a thread of its own, through a buffer of bounded size.
///
/// Checks never wait: when the buffer is full, because `R` is slow or stuck, events are dropped and
/// counted. An event costs an allocation for the key, of which the first 1024 bytes are kept; so the
/// memory is bounded as well.
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
    Event(OwnedEvent),
    Flush(SyncSender<()>),
}

impl<R: Recorder + 'static> Buffered<R> {
    /// Starts a thread that runs `recorder` behind a buffer of `capacity` events.
    ///
    /// # Errors
    ///
    /// The system's error, if it starts no thread.
    pub fn new(recorder: R, capacity: NonZeroUsize) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(capacity.get());
        let shared = Arc::new(Shared { recorder, dropped: Counter::default() });
        let theirs = Arc::clone(&shared);
        thread::Builder::new()
            .name("ratelimit-metrics".to_owned())
            .spawn(move || theirs.run(&receiver))?;
        Ok(Self { sender, shared })
    }

    /// Returns the recorder.
    #[must_use]
    pub fn get_ref(&self) -> &R {
        &self.shared.recorder
    }

    /// Returns the number of events that were lost: because the buffer was full, or because the
    /// recorder panicked.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.get()
    }

    /// Waits until the recorder has got all events that are in the buffer: at the end of a program,
    /// or in a test. Takes as long as the recorder takes.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.sender.send(Message::Flush(done)).is_ok() {
            // An error means that the thread is gone, and the buffer with it.
            let _ = wait.recv();
        }
    }
}

impl<R: Recorder> Shared<R> {
    fn run(&self, receiver: &Receiver<Message>) {
        for message in receiver {
            let is_noted = match message {
                Message::Event(event) => {
                    event.with(|event| is_noted(|| self.recorder.record(event)))
                }
                Message::Flush(done) => {
                    // The caller may have given up.
                    let _ = done.send(());
                    true
                }
            };
            if !is_noted {
                self.dropped.increment();
            }
        }
    }
}

impl<R: Recorder> Recorder for Buffered<R> {
    fn record(&self, event: &Event<'_>) {
        if self.sender.try_send(Message::Event(event.into())).is_err() {
            self.shared.dropped.increment();
        }
    }

    /// Registers on the calling thread, since limiters are made rarely.
    fn register(&self, policy: &Policy) {
        self.shared.recorder.register(policy);
    }
}

impl<R> fmt::Debug for Buffered<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dropped = self.shared.dropped.get();
        f.debug_struct("Buffered").field("dropped", &dropped).finish_non_exhaustive()
    }
}
