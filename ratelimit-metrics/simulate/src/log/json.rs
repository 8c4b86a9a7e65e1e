//! Lines of JSON: the wanted values are found by their paths, and all others are skipped.

use std::{borrow::Cow, fmt};

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use smallvec::smallvec;

use super::values::{NoRequest, Values};

/// Reads lines of JSON.
#[derive(Debug)]
pub(crate) struct Json {
    root: Node,
    wanted: usize,
    /// Lines without a status are of another kind: a log of a program has those, too.
    needs_status: Option<usize>,
}

/// An object, as far as values in it are wanted.
#[derive(Debug, Default)]
struct Node {
    members: Vec<(Box<str>, Self)>,
    /// The place of the value, and its rank among the paths for that place.
    wanted: Vec<(usize, usize)>,
}

impl Json {
    /// A parser for the wanted fields, each by any of several paths. The first value that is not
    /// null counts.
    pub(super) fn new(wanted: &[Vec<String>], needs_status: bool) -> Self {
        let mut root = Node::default();
        for (place, paths) in wanted.iter().enumerate() {
            for (rank, path) in paths.iter().enumerate() {
                root.want(path.split('.'), (place, rank));
                // A name may have dots of its own.
                if path.contains('.') {
                    root.want([path.as_str()].into_iter(), (place, rank));
                }
            }
        }
        let status =
            wanted.iter().position(|paths| paths.iter().any(|path| path == "fields.status"));
        Self { root, wanted: wanted.len(), needs_status: status.filter(|_| needs_status) }
    }

    pub(super) fn read<'a>(
        &self,
        line: &'a [u8],
        values: &mut Values<'a>,
    ) -> Result<(), NoRequest> {
        let mut found = Found {
            values: smallvec![None; self.wanted],
            ranks: smallvec::SmallVec::from_elem(usize::MAX, self.wanted),
        };
        let mut deserializer = serde_json::Deserializer::from_slice(line);
        let object = Object { node: &self.root, found: &mut found };
        let read = object.deserialize(&mut deserializer).and_then(|()| deserializer.end());
        read.map_err(|_| NoRequest::Bad("no object of JSON"))?;
        *values = found.values;
        match self.needs_status {
            Some(status) if values[status].is_none() => Err(NoRequest::Other),
            _ => Ok(()),
        }
    }
}

impl Node {
    fn want<'p>(&mut self, mut path: impl Iterator<Item = &'p str>, wanted: (usize, usize)) {
        let Some(name) = path.next() else { return self.wanted.push(wanted) };
        let known = self.members.iter().position(|(known, _)| &**known == name);
        let member = known.unwrap_or_else(|| {
            self.members.push((name.into(), Self::default()));
            self.members.len() - 1
        });
        self.members[member].1.want(path, wanted);
    }
}

/// The values found so far, and the ranks of their paths.
struct Found<'a> {
    values: Values<'a>,
    ranks: smallvec::SmallVec<[usize; 8]>,
}

impl<'a> Found<'a> {
    fn put(&mut self, node: &Node, raw: &'a RawValue) {
        for (place, rank) in &node.wanted {
            if *rank < self.ranks[*place]
                && let Some(value) = value(raw.get())
            {
                self.values[*place] = Some(value);
                self.ranks[*place] = *rank;
            }
        }
    }
}

/// A text without its quotes, a number as it is written, a list of texts as a header of them; `None`
/// for anything else.
fn value(raw: &str) -> Option<Cow<'_, [u8]>> {
    let text = match raw.as_bytes() {
        [b'"', text @ .., b'"'] if !text.contains(&b'\\') => Cow::Borrowed(text),
        [b'"', ..] => Cow::Owned(serde_json::from_str::<String>(raw).ok()?.into_bytes()),
        [b'-' | b'0'..=b'9', ..] => Cow::Borrowed(raw.as_bytes()),
        [b'[', ..] => {
            Cow::Owned(serde_json::from_str::<Vec<String>>(raw).ok()?.join(", ").into_bytes())
        }
        _ => return None,
    };
    (!text.is_empty() && *text != *b"-").then_some(text)
}

/// Reads an object into what is found.
struct Object<'n, 'f, 'a> {
    node: &'n Node,
    found: &'f mut Found<'a>,
}

impl<'de> DeserializeSeed<'de> for Object<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(member) = map.next_key_seed(Name(self.node))? {
            let Some(node) = member else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let raw: &'de RawValue = map.next_value()?;
            self.found.put(node, raw);
            if !node.members.is_empty() && raw.get().starts_with('{') {
                let object = Object { node, found: &mut *self.found };
                let mut inner = serde_json::Deserializer::from_str(raw.get());
                object.deserialize(&mut inner).map_err(M::Error::custom)?;
            }
        }
        Ok(())
    }
}

/// Reads a name, and finds its member.
struct Name<'n>(&'n Node);

impl<'n, 'de> DeserializeSeed<'de> for Name<'n> {
    type Value = Option<&'n Node>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'n> Visitor<'_> for Name<'n> {
    type Value = Option<&'n Node>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.members.iter().find(|(known, _)| **known == *name).map(|(_, node)| node))
    }
}
