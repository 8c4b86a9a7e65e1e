//! A thread that looks at a file of limits from time to time.

use std::{
    convert::Infallible,
    io,
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{FileError, LimitsFile};

/// A watched file of limits. The watch ends when this is dropped.
#[must_use = "the watch ends when this is dropped"]
#[derive(Debug)]
pub struct Watch {
    /// Nothing is ever sent: the thread ends when this is dropped.
    stop: Option<Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl LimitsFile {
    /// Reloads the file whenever it has changed, which a thread finds out every `interval`.
    ///
    /// Then `on_reload` is told how that went: as [`reload`](Self::reload) says. It hears of a
    /// file that is wrong once, until that changes again. What is compared is what the file holds,
    /// so it does not matter how it is replaced; but whoever renames a new one to its name, instead
    /// of writing into it, can be sure that no half of it is read.
    ///
    /// # Errors
    ///
    /// If the thread cannot be started.
    pub fn watch(
        &self,
        interval: Duration,
        mut on_reload: impl FnMut(Result<(), FileError>) + Send + 'static,
    ) -> io::Result<Watch> {
        let (stop, stopped) = mpsc::channel::<Infallible>();
        let file = self.clone();
        let watch = move || {
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                if let Some(outcome) = file.reload_if_changed() {
                    on_reload(outcome);
                }
            }
        };
        let thread = thread::Builder::new().name("ratelimit-watch".to_owned()).spawn(watch)?;
        Ok(Watch { stop: Some(stop), thread: Some(thread) })
    }
}

/// Waits until the thread has ended, unless that is the thread that drops it.
impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        let is_other = |thread: &JoinHandle<()>| thread.thread().id() != thread::current().id();
        if let Some(thread) = self.thread.take().filter(is_other) {
            // What is lost with a panic of `on_reload` is the watch, which ends here anyway.
            let _ = thread.join();
        }
    }
}
