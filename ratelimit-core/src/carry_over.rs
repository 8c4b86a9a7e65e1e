//! The rule for a live change of numbers.

/// The rule for states that were written under other numbers.
///
/// A key is carried over to new numbers at its next check. Its state is first brought up to that
/// instant under the old numbers, then read under the new ones. A state that is as good as new
/// under the old numbers is new under the new ones. A state of another algorithm is never read: it
/// is an error, except with `Reset`.
///
/// The old state is kept beside the new one for as long as it counts. When the old numbers come back,
/// the key gets the stricter of the kept state and the one that is carried over. So several sets of
/// numbers by turns admit, over any stretch of time, no more than the sum of what each alone would
/// admit in it. Bounds of that promise:
///
/// - The states of four earlier sets of numbers are kept, those that count longest. A sixth set by
///   turns may find that one of the others begins anew.
/// - A log of more than 32 entries is kept as 32 sums. After its numbers have come back, a charge may
///   count for up to a 32nd of the window longer.
/// - A clock that steps back behind the end of a kept state does not bring it back.
/// - Windows that begin with a key's first request may begin with one under other numbers.
///
/// A kept state takes some fifty bytes, that of a log up to 500. Only keys whose numbers have changed
/// pay for it, until nothing of what they spent before counts.
///
/// Permits in flight stay held as they are, by `AsIs` and by `Proportional`: each hold has one holder,
/// lapses when it would have, and is given back by its receipt. Where the limit is lowered below what
/// is held, nothing is admitted until enough is given back.
///
/// Any other [`Receipt`](crate::Receipt) belongs to its numbers: a refund by a receipt of before the last change
/// gives nothing back.
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
