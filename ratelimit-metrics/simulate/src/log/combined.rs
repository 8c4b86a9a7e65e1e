//! The common and the combined format:
//! `host ident user [time] "request" status bytes "referer" "user agent"`, and quoted fields after it.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use super::values::{NoRequest, Values};

/// Reads lines of the common or the combined format.
#[derive(Debug)]
pub(crate) struct Combined(Vec<Option<Field>>);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Field {
    Host,
    User,
    Time,
    Request,
    Method,
    Target,
    Status,
    Bytes,
    /// Of the quoted fields after the bytes, counted from zero.
    Quoted(usize),
}

/// The fields by name. The last one is what nginx appends in its own configuration.
const FIELDS: [(&str, Field); 11] = [
    ("remote_addr", Field::Host),
    ("remote_user", Field::User),
    ("time_local", Field::Time),
    ("request", Field::Request),
    ("request_method", Field::Method),
    ("request_uri", Field::Target),
    ("status", Field::Status),
    ("body_bytes_sent", Field::Bytes),
    ("http_referer", Field::Quoted(0)),
    ("http_user_agent", Field::Quoted(1)),
    ("http_x_forwarded_for", Field::Quoted(2)),
];

/// The parts of a line.
pub(super) struct Line<'a> {
    host: &'a [u8],
    /// Identity and user.
    who: &'a [u8],
    time: &'a [u8],
    request: &'a [u8],
    status: &'a [u8],
    /// Bytes, and what follows.
    rest: &'a [u8],
}

/// Takes a line apart; `None` if it is of another format.
#[inline]
pub(super) fn split(line: &[u8]) -> Option<Line<'_>> {
    let (host, rest) = line.split_at(memchr(b' ', line)?);
    let (who, rest) = rest.split_at(memchr(b'[', rest)?);
    let (time, rest) = rest[1..].split_at(memchr(b']', rest)? - 1);
    let rest = rest[1..].strip_prefix(b" \"")?;
    let (request, rest) = rest.split_at(closing_quote(rest)?);
    let rest = rest[1..].strip_prefix(b" ")?;
    let (status, rest) = rest.split_at(memchr(b' ', rest).unwrap_or(rest.len()));
    let is_status = status.len() == 3 && status.iter().all(u8::is_ascii_digit);
    is_status.then_some(Line { host, who, time, request, status, rest })
}

/// The place of the quote that ends a field. Servers write a quote in it as `\"` or `\x22`.
fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut place = 0;
    loop {
        place += memchr2(b'"', b'\\', &text[place..])?;
        if text[place] == b'"' {
            return Some(place);
        }
        place = (place + 2).min(text.len());
    }
}

impl Combined {
    /// A parser for the wanted fields; the place of one that is unknown is the error.
    pub(super) fn new(wanted: &[Vec<String>]) -> Result<Self, usize> {
        let field = |(place, names): (usize, &Vec<String>)| match names.first() {
            None => Ok(None),
            Some(name) => {
                let known = FIELDS.iter().find(|(known, _)| known == name);
                known.map(|(_, field)| Some(*field)).ok_or(place)
            }
        };
        wanted.iter().enumerate().map(field).collect::<Result<_, _>>().map(Self)
    }

    #[inline]
    pub(super) fn read<'a>(
        &self,
        line: &'a [u8],
        values: &mut Values<'a>,
    ) -> Result<(), NoRequest> {
        let line = split(line).ok_or(NoRequest::Bad("no line of the combined format"))?;
        // One by one, so that each is written where it stays.
        for field in &self.0 {
            let value = field.and_then(|field| line.value(field));
            let value = value.filter(|value| *value != b"-" && !value.is_empty());
            values.push(value.map(Cow::Borrowed));
        }
        Ok(())
    }
}

impl<'a> Line<'a> {
    #[inline]
    fn value(&self, field: Field) -> Option<&'a [u8]> {
        let mut words = self.request.split(|byte| *byte == b' ');
        match field {
            Field::Host => Some(self.host),
            Field::User => self.who.trim_ascii().splitn(2, |byte| *byte == b' ').nth(1),
            Field::Time => Some(self.time),
            Field::Request => Some(self.request),
            Field::Method => words.next(),
            Field::Target => words.nth(1),
            Field::Status => Some(self.status),
            Field::Bytes => self.rest.get(1..)?.split(|byte| *byte == b' ').next(),
            Field::Quoted(number) => self.quoted(number),
        }
    }

    fn quoted(&self, number: usize) -> Option<&'a [u8]> {
        let mut rest = self.rest;
        for _ in 0..number {
            let begin = memchr(b'"', rest)? + 1;
            rest = &rest[begin + closing_quote(&rest[begin..])? + 1..];
        }
        let text = &rest[memchr(b'"', rest)? + 1..];
        Some(&text[..closing_quote(text)?])
    }
}
