//! A bar for long work, on a terminal only.

use std::{
    io::{self, IsTerminal, Read, Stderr, Write},
    time::{Duration, Instant},
};

/// Shows how much of an input is read.
pub(crate) struct Progress<W: Write = Stderr> {
    /// `None` where nobody looks.
    out: Option<W>,
    bytes: Option<u64>,
    read: u64,
    next: Instant,
    is_drawn: bool,
}

impl Progress {
    /// Progress on standard error, if that is a terminal; `bytes` is the length of the input.
    pub(crate) fn on_terminal(bytes: Option<u64>) -> Self {
        Self::new(Some(io::stderr()).filter(IsTerminal::is_terminal), bytes)
    }
}

impl<W: Write> Progress<W> {
    fn new(out: Option<W>, bytes: Option<u64>) -> Self {
        Self { out, bytes, read: 0, next: Instant::now() + LONG, is_drawn: false }
    }

    /// The input, watched while it is read.
    pub(crate) const fn of<R: Read>(&mut self, input: R) -> Watched<'_, R, W> {
        Watched { input, progress: self }
    }

    fn advance(&mut self, bytes: usize, now: Instant) {
        self.read += bytes as u64;
        if self.next <= now {
            self.next = now + BETWEEN;
            self.draw();
        }
    }

    /// A bar that cannot be shown is no reason to stop.
    fn draw(&mut self) {
        let line = line(self.read, self.bytes);
        if let Some(out) = &mut self.out {
            self.is_drawn = true;
            let _ = write!(out, "\r{line}").and_then(|()| out.flush());
        }
    }
}

/// Leaves a clean line.
impl<W: Write> Drop for Progress<W> {
    fn drop(&mut self) {
        if let (Some(out), true) = (&mut self.out, self.is_drawn) {
            let _ = write!(out, "\r{:WIDTH$}\r", "").and_then(|()| out.flush());
        }
    }
}

/// An input that is watched.
pub(crate) struct Watched<'p, R, W: Write> {
    input: R,
    progress: &'p mut Progress<W>,
}

impl<R: Read, W: Write> Read for Watched<'_, R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.input.read(buffer)?;
        if self.progress.out.is_some() {
            self.progress.advance(bytes, Instant::now());
        }
        Ok(bytes)
    }
}

/// The bar at so many bytes, in [`WIDTH`] characters.
fn line(read: u64, bytes: Option<u64>) -> String {
    let megabytes = read / 1_000_000;
    let Some(bytes) = bytes.filter(|bytes| 0 < *bytes) else {
        return format!("{:<WIDTH$}", format!("{megabytes} MB read"));
    };
    // Of a file that grows meanwhile, all is read.
    let twentieths = usize::try_from((read * 20 / bytes).min(20)).unwrap_or(20);
    let bar = "#".repeat(twentieths);
    let percent = (read * 100 / bytes).min(100);
    format!("{:<WIDTH$}", format!("[{bar:20}] {percent:3}% of {} MB", bytes / 1_000_000))
}

/// Work that ends sooner needs no bar.
const LONG: Duration = Duration::from_millis(500);

const BETWEEN: Duration = Duration::from_millis(100);

const WIDTH: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_drawn_over_itself_and_wiped_at_the_end() {
        let mut out = Vec::new();
        let mut progress = Progress::new(Some(&mut out), Some(40_000_000));
        let began = progress.next - LONG;
        progress.advance(1_000_000, began + LONG / 2);
        progress.advance(9_000_000, began + LONG);
        progress.advance(1, began + LONG + BETWEEN / 2);
        progress.advance(50_000_000, began + LONG + BETWEEN);
        drop(progress);
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<_> = text.split('\r').map(str::trim_end).collect();
        let full = "####################";
        assert_eq!(
            lines,
            [
                "",
                "[#####               ]  25% of 40 MB",
                &format!("[{full}] 100% of 40 MB"),
                "",
                ""
            ]
        );
    }

    #[test]
    fn work_that_nobody_watches_is_not_shown_and_nor_is_short_work() {
        let mut out = Vec::new();
        let mut progress = Progress::new(Some(&mut out), None);
        let read = io::copy(&mut progress.of(&b"a line"[..]), &mut io::sink()).unwrap();
        drop(progress);
        assert_eq!((read, out.len()), (6, 0));
        assert_eq!(line(2_500_000, None).trim_end(), "2 MB read");
    }
}
