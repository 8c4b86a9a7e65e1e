//! The rule for a live change of numbers.

/// The rule for states that were written under other numbers.
///
/// A state that is as good as new under the numbers it was written with is new under any.
/// A state of another algorithm is never read: it is an error, but for `Reset`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete by nature")]
pub enum CarryOver {
    /// The stored quantity stays: a token bucket keeps its tokens, a leaky bucket its
    /// level (capped by the new capacity), windows and logs their counts as far as they fall into
    /// the new window.
    #[default]
    AsIs,
    /// Every key starts anew.
    Reset,
    /// The share that is spent stays the same, rounded against the caller.
    Proportional,
}
