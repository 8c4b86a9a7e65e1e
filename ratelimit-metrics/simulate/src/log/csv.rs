//! Comma-separated values with a heading, a record a line.

use std::borrow::Cow;

use csv_core::{ReadRecordResult, Reader};

use super::values::{NoRequest, Values};

/// Reads lines of comma-separated values.
pub(crate) struct Csv {
    /// The column of each wanted field.
    columns: Vec<Option<usize>>,
    /// The values of a line, one after the other, and where each ends.
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Csv {
    /// A parser for the wanted fields of a log with this heading; the place of one that is not in it
    /// is the error.
    pub(super) fn new(heading: &[u8], wanted: &[Vec<String>]) -> Result<Self, usize> {
        let mut csv = Self { columns: Vec::new(), text: Vec::new(), ends: Vec::new() };
        let heading = heading.strip_prefix(b"\xef\xbb\xbf").unwrap_or(heading);
        let count = csv.split(heading).unwrap_or(0);
        let column = |name: &String| {
            (0..count).find(|column| csv.value(*column).trim_ascii() == name.as_bytes())
        };
        let columns = wanted.iter().enumerate().map(|(place, names)| {
            let found = names.iter().find_map(column);
            if names.is_empty() || found.is_some() { Ok(found) } else { Err(place) }
        });
        let columns = columns.collect::<Result<_, _>>()?;
        Ok(Self { columns, ..csv })
    }

    pub(super) fn read<'a>(
        &'a mut self,
        line: &[u8],
        values: &mut Values<'a>,
    ) -> Result<(), NoRequest> {
        let count = self.split(line).ok_or(NoRequest::Bad("no record of CSV"))?;
        let value = |column: &Option<usize>| {
            let value = self.value((*column).filter(|column| *column < count)?);
            (!value.is_empty() && value != b"-").then_some(Cow::Borrowed(value))
        };
        values.extend(self.columns.iter().map(value));
        Ok(())
    }

    /// Splits a record, and returns the number of its fields; `None` if a quote is not closed.
    fn split(&mut self, line: &[u8]) -> Option<usize> {
        // No field is longer than its line, and there is one more than there are commas.
        self.text.resize(line.len(), 0);
        self.ends.resize(line.len() + 1, 0);
        let mut reader = Reader::new();
        let (result, _, _, count) = reader.read_record(line, &mut self.text, &mut self.ends);
        if result == ReadRecordResult::Record {
            return Some(count);
        }
        // An empty input tells that the record ends with the line.
        let is_quoted = line.iter().filter(|byte| **byte == b'"').count() % 2 == 1;
        let (result, _, _, more) = reader.read_record(b"", &mut [], &mut self.ends[count..]);
        (result == ReadRecordResult::Record && !is_quoted).then_some(count + more)
    }

    fn value(&self, column: usize) -> &[u8] {
        let begin = column.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[begin..self.ends[column]]
    }
}

impl std::fmt::Debug for Csv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Csv").field("columns", &self.columns).finish_non_exhaustive()
    }
}
