//! A thread that reloads a file of limits when it has changed.

use std::{
    convert::Infallible,
    io,
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{error::FileError, file::LimitsFile};

/// A file of limits that is watched until this is dropped.
#[must_use = "the watch ends when this is dropped"]
#[derive(Debug)]
pub struct Watch {
    /// Never sends anything: the thread ends when this is dropped.
    stop: Option<Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl LimitsFile {
    /// Starts a thread that reads the file every `interval`, and reloads it if it has changed.
    ///
    /// Each reload calls `on_reload` with the outcome of [`reload`](Self::reload); an invalid file is
    /// reported once, until it changes again. The thread compares contents, so it does not matter
    /// how the file is replaced. Rename a new file to its name instead of writing into it, and no
    /// half of it is ever read.
    ///
    /// Once a day it makes all limits anew, so that windows of calendars follow the rules that time
    /// zones have by then; `on_reload` hears of it only if that fails.
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
                if let Some(outcome) = file.reload_if_changed(AGE_MAX) {
                    on_reload(outcome);
                }
            }
        };
        let thread = thread::Builder::new().name("ratelimit-watch".to_owned()).spawn(watch)?;
        Ok(Watch { stop: Some(stop), thread: Some(thread) })
    }
}

/// A day: rules of time zones are known weeks before they hold, or at least days.
const AGE_MAX: Duration = Duration::from_secs(86_400);

/// Waits until the thread has ended, unless that is the thread that drops it.
impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        let is_other = |thread: &JoinHandle<()>| thread.thread().id() != thread::current().id();
        if let Some(thread) = self.thread.take().filter(is_other) {
            // A panic of `on_reload` has ended the watch, which ends here anyway.
            let _ = thread.join();
        }
    }
}
