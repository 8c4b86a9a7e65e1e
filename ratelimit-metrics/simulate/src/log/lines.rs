//! The lines of a log, packed by gzip or plain, in a buffer of one size.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use memchr::memchr_iter;

use super::format::LogError;

/// Calls `on_line` with each line of a log, packed by gzip or plain, without its end. A line beyond
/// [`LINE_BYTES_MAX`] is `None`.
pub(crate) fn read_lines<E: From<LogError>>(
    input: impl Read,
    mut on_line: impl FnMut(Option<&[u8]>) -> Result<(), E>,
) -> Result<(), E> {
    let mut input = unpacked(input).map_err(LogError::Cut)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let (mut filled, mut is_too_long) = (0, false);
    loop {
        let read = match input.read(&mut buffer[filled..]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other.map_err(LogError::Cut)?,
        };
        let end = filled + read;
        let mut begin = 0;
        for newline in memchr_iter(b'\n', &buffer[filled..end]) {
            let line = &buffer[begin..filled + newline];
            begin = filled + newline + 1;
            if is_too_long {
                on_line(None)?;
            } else {
                on_line(Some(line.strip_suffix(b"\r").unwrap_or(line)))?;
            }
            is_too_long = false;
        }
        if read == 0 {
            return match (is_too_long, &buffer[begin..end]) {
                (true, _) => on_line(None),
                (false, []) => Ok(()),
                (false, line) => on_line(Some(line)),
            };
        }
        buffer.copy_within(begin..end, 0);
        filled = end - begin;
        if LINE_BYTES_MAX < filled {
            (filled, is_too_long) = (0, true);
        }
    }
}

/// The input, unpacked if it begins as gzip does.
fn unpacked<'a>(input: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut input = BufReader::new(input);
    let is_packed = input.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    Ok(if is_packed { Box::new(MultiGzDecoder::new(input)) } else { Box::new(input) })
}

/// A line beyond this is none that a server writes.
const LINE_BYTES_MAX: usize = 1 << 16;

/// Room for a line, and for as much again at least.
const BUFFER_BYTES: usize = 1 << 18;
