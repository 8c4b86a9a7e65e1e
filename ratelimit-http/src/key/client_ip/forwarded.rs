//! The `Forwarded` header of RFC 7239, read from the right.
//!
//! From the right, because a client that leaves a quote open would otherwise have the proxies'
//! own elements taken for the rest of its text.

use super::node::{self, Node};

/// The node of the `for` parameter in one element; `None` unless there is one, and an address.
///
/// A colon or brackets without quotes are let pass, as many proxies write them.
pub(super) fn parse(element: &[u8]) -> Option<Node> {
    let mut nodes = RightSplit::new(element, b';').filter_map(node_of);
    let node = nodes.next()?;
    if nodes.next().is_some() { None } else { node::parse(unquoted(node)?) }
}

/// The value of this pair, if it is called `for`.
fn node_of(pair: &[u8]) -> Option<&[u8]> {
    let pair = pair.trim_ascii();
    let (name, value) = pair.split_at_checked(FOR.len())?;
    name.eq_ignore_ascii_case(FOR).then_some(value)
}

const FOR: &[u8] = b"for=";

/// The value without its quotes; no address needs an escape.
fn unquoted(value: &[u8]) -> Option<&[u8]> {
    match value {
        [b'"', inner @ .., b'"'] => (!inner.contains(&b'\\')).then_some(inner),
        _ => Some(value),
    }
}

/// The parts of a text between separators that are not quoted, from right to left.
pub(super) struct RightSplit<'a> {
    rest: Option<&'a [u8]>,
    separator: u8,
}

impl<'a> RightSplit<'a> {
    pub(super) const fn new(text: &'a [u8], separator: u8) -> Self {
        Self { rest: Some(text), separator }
    }
}

impl<'a> Iterator for RightSplit<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let text = self.rest?;
        let mut is_quoted = false;
        for (index, &byte) in text.iter().enumerate().rev() {
            if byte == b'"' && !is_escaped(text, index) {
                is_quoted = !is_quoted;
            } else if byte == self.separator && !is_quoted {
                self.rest = Some(&text[..index]);
                return Some(&text[index + 1..]);
            }
        }
        self.rest = None;
        Some(text)
    }
}

/// Whether an odd number of backslashes stands before this place.
fn is_escaped(text: &[u8], index: usize) -> bool {
    let backslashes = text[..index].iter().rev().take_while(|&&byte| byte == b'\\').count();
    backslashes % 2 == 1
}
