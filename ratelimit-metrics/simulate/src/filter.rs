//! The choice of a log's requests: by path, method and status.

use std::str::FromStr;

/// Patterns for one field: `*` stands for any text, `?` for one character, and a pattern after `!` is
/// for what does not count. A value counts if one of the others matches, or there are no others, and
/// none after `!` does.
///
/// ```
/// use ratelimit_simulate::Patterns;
///
/// let paths: Patterns = "/api/*,!/api/health".parse().unwrap();
/// assert!(paths.matches(b"/api/items/7"));
/// assert!(!paths.matches(b"/api/health"));
/// assert!(!paths.matches(b"/logo.png"));
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Patterns {
    included: Vec<Box<[u8]>>,
    excluded: Vec<Box<[u8]>>,
}

impl Patterns {
    /// Returns true if there is no pattern, so that every value counts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.included.is_empty() && self.excluded.is_empty()
    }

    /// Returns true if `value` counts.
    #[must_use]
    pub fn matches(&self, value: &[u8]) -> bool {
        let is_any = |patterns: &[Box<[u8]>]| patterns.iter().any(|one| is_like(value, one));
        (self.included.is_empty() || is_any(&self.included)) && !is_any(&self.excluded)
    }

    /// Adds the patterns of `others`.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.included.extend(others.included);
        self.excluded.extend(others.excluded);
        self
    }
}

/// Reads patterns with commas between.
impl FromStr for Patterns {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut patterns = Self::default();
        for pattern in text.split(',').filter(|pattern| !pattern.is_empty()) {
            match pattern.strip_prefix('!') {
                Some(pattern) => patterns.excluded.push(pattern.as_bytes().into()),
                None => patterns.included.push(pattern.as_bytes().into()),
            }
        }
        Ok(patterns)
    }
}

/// Compares from the left; where it fails, the last `*` takes one character more.
fn is_like(value: &[u8], pattern: &[u8]) -> bool {
    let (mut at, mut of) = (0, 0);
    let mut last_star = None;
    while at < value.len() {
        match pattern.get(of) {
            Some(b'*') => {
                last_star = Some((of, at));
                of += 1;
            }
            Some(&byte) if byte == b'?' || byte == value[at] => (at, of) = (at + 1, of + 1),
            _ => {
                let Some((star, taken)) = last_star else { return false };
                last_star = Some((star, taken + 1));
                (at, of) = (taken + 1, star + 1);
            }
        }
    }
    pattern[of..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same, by its definition.
    fn model(value: &[u8], pattern: &[u8]) -> bool {
        match pattern {
            [] => value.is_empty(),
            [b'*', rest @ ..] => (0..=value.len()).any(|taken| model(&value[taken..], rest)),
            [byte, rest @ ..] => {
                value.first().is_some_and(|first| *byte == b'?' || byte == first)
                    && model(&value[1..], rest)
            }
        }
    }

    proptest! {
        #[test]
        fn a_star_stands_for_any_text(value in "[ab]{0,8}", pattern in "[ab*?]{0,8}") {
            let (value, pattern) = (value.as_bytes(), pattern.as_bytes());
            prop_assert_eq!(is_like(value, pattern), model(value, pattern));
        }
    }
}
