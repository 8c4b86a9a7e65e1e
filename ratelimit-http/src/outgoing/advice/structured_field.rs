//! Lists and dictionaries of RFC 9651 (structured fields), as far as they can tell of limits.
//!
//! The whole syntax is parsed, since one mistake anywhere makes the whole field void; values that
//! no limit uses are not kept.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// One member of a list that is an item.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) bare: Bare,
    parameters: Vec<(String, Bare)>,
}

#[derive(Debug)]
pub(super) enum Bare {
    Integer(i64),
    Text(String),
    Token(String),
    Bytes(Vec<u8>),
    /// A decimal, a boolean, a date or a display string.
    Other,
}

impl Item {
    /// Returns the last parameter of that name: the one that counts.
    pub(super) fn parameter(&self, name: &str) -> Option<&Bare> {
        self.parameters.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

/// Returns the items of a list, without its inner lists; `None` if it is no list.
pub(super) fn list(text: &[u8]) -> Option<Vec<Item>> {
    let items = members(text, |rest| {
        if rest.eat(b'(') { rest.inner_list().map(|()| None) } else { rest.item().map(Some) }
    })?;
    Some(items.into_iter().flatten().collect())
}

/// Returns the items of a dictionary with their keys, without its inner lists; `None` if it is no
/// dictionary.
pub(super) fn dictionary(text: &[u8]) -> Option<Vec<(String, Item)>> {
    let items = members(text, |rest| {
        let key = rest.key()?;
        if !rest.eat(b'=') {
            let parameters = rest.parameters()?;
            return Some(Some((key, Item { bare: Bare::Other, parameters })));
        }
        if rest.eat(b'(') {
            return rest.inner_list().map(|()| None);
        }
        Some(Some((key, rest.item()?)))
    })?;
    Some(items.into_iter().flatten().collect())
}

/// The members of a list or a dictionary, between commas.
fn members<T>(text: &[u8], mut member: impl FnMut(&mut Rest<'_>) -> Option<T>) -> Option<Vec<T>> {
    let mut rest = Rest(text);
    rest.skip(b" ");
    let mut members = Vec::new();
    while !rest.0.is_empty() {
        members.push(member(&mut rest)?);
        rest.skip(b" \t");
        if rest.0.is_empty() {
            return Some(members);
        }
        if !rest.eat(b',') {
            return None;
        }
        rest.skip(b" \t");
        if rest.0.is_empty() {
            return None;
        }
    }
    Some(members)
}

/// The text that is not parsed yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn inner_list(&mut self) -> Option<()> {
        loop {
            self.skip(b" ");
            if self.eat(b')') {
                return self.parameters().map(drop);
            }
            self.item()?;
            if !matches!(self.0.first()?, b' ' | b')') {
                return None;
            }
        }
    }

    fn item(&mut self) -> Option<Item> {
        Some(Item { bare: self.bare()?, parameters: self.parameters()? })
    }

    fn parameters(&mut self) -> Option<Vec<(String, Bare)>> {
        let mut parameters = Vec::new();
        while self.eat(b';') {
            self.skip(b" ");
            let key = self.key()?;
            let value = if self.eat(b'=') { self.bare()? } else { Bare::Other };
            parameters.push((key, value));
        }
        Some(parameters)
    }

    fn key(&mut self) -> Option<String> {
        let is_first = |byte: u8| byte.is_ascii_lowercase() || byte == b'*';
        let key = self
            .take_while(|byte| is_first(byte) || byte.is_ascii_digit() || b"_-.".contains(&byte));
        is_first(*key.first()?).then(|| text(key))
    }

    fn bare(&mut self) -> Option<Bare> {
        match *self.0.first()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.string().map(Bare::Text),
            b'*' | b'A'..=b'Z' | b'a'..=b'z' => Some(Bare::Token(text(self.take_while(is_token)))),
            b':' => self.bytes().map(Bare::Bytes),
            b'?' => self.boolean(),
            b'@' => self.date(),
            b'%' => self.display_string(),
            _ => None,
        }
    }

    fn number(&mut self) -> Option<Bare> {
        let is_negative = self.eat(b'-');
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        if self.eat(b'.') {
            let fraction = self.take_while(|byte| byte.is_ascii_digit());
            let is_fit = (1..=12).contains(&digits.len()) && (1..=3).contains(&fraction.len());
            return is_fit.then_some(Bare::Other);
        }
        if !(1..=15).contains(&digits.len()) {
            return None;
        }
        let number: i64 = text(digits).parse().ok()?;
        Some(Bare::Integer(if is_negative { -number } else { number }))
    }

    fn string(&mut self) -> Option<String> {
        self.eat(b'"');
        let mut string = String::new();
        loop {
            let byte = match self.next()? {
                b'"' => return Some(string),
                b'\\' => Some(self.next()?).filter(|byte| b"\"\\".contains(byte))?,
                byte @ b' '..=b'~' => byte,
                _ => return None,
            };
            string.push(byte.into());
        }
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        self.eat(b':');
        let encoded = self.take_while(|byte| byte != b':');
        if self.eat(b':') { LENIENT.decode(encoded).ok() } else { None }
    }

    fn boolean(&mut self) -> Option<Bare> {
        self.eat(b'?');
        matches!(self.next()?, b'0' | b'1').then_some(Bare::Other)
    }

    fn date(&mut self) -> Option<Bare> {
        self.eat(b'@');
        matches!(self.number()?, Bare::Integer(_)).then_some(Bare::Other)
    }

    /// UTF-8, with bytes that are not ASCII in lower-case hexadecimal.
    fn display_string(&mut self) -> Option<Bare> {
        self.eat(b'%');
        if !self.eat(b'"') {
            return None;
        }
        let mut decoded = Vec::new();
        loop {
            decoded.push(match self.next()? {
                b'"' => return std::str::from_utf8(&decoded).is_ok().then_some(Bare::Other),
                b'%' => hex(self.next()?)? << 4 | hex(self.next()?)?,
                byte @ b' '..=b'~' => byte,
                _ => return None,
            });
        }
    }

    fn next(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    fn eat(&mut self, byte: u8) -> bool {
        let is_next = self.0.first() == Some(&byte);
        if is_next {
            self.0 = &self.0[1..];
        }
        is_next
    }

    fn skip(&mut self, bytes: &[u8]) {
        self.take_while(|byte| bytes.contains(&byte));
    }

    fn take_while(&mut self, is_part: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.0.iter().position(|&byte| !is_part(byte)).unwrap_or(self.0.len());
        let (part, rest) = self.0.split_at(end);
        self.0 = rest;
        part
    }
}

/// Padding may be left out, as RFC 9651 asks of a parser.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b":/!#$%&'*+-.^_`|~".contains(&byte)
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// ASCII as a string.
fn text(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}
