//! The clients that a log names, by number.

use std::collections::HashMap;

use foldhash::fast::RandomState;

/// Clients by key: a number each, in the order in which they come.
#[derive(Debug)]
pub(crate) struct Clients {
    numbers: HashMap<Box<[u8]>, u32, RandomState>,
    names: Vec<Box<str>>,
    max: usize,
}

impl Clients {
    pub(crate) fn new(max: usize) -> Self {
        Self { numbers: HashMap::default(), names: Vec::new(), max }
    }

    /// The number of the client with this key; `None` if it is new and there is no room. A new
    /// client gets its name in reports.
    pub(crate) fn number(&mut self, key: &[u8], name: impl FnOnce() -> String) -> Option<u32> {
        if let Some(number) = self.numbers.get(key) {
            return Some(*number);
        }
        let number = u32::try_from(self.names.len()).ok()?;
        if self.max <= self.names.len() {
            return None;
        }
        self.numbers.insert(key.into(), number);
        self.names.push(name().into());
        Some(number)
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn name(&self, client: usize) -> &str {
        &self.names[client]
    }
}
