//! The cost of a request, and a receipt that tells one charge from all others.

use core::num::NonZeroU64;

use crate::Timestamp;

/// Permits that one request spends: one or more, and no more than its policy can admit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cost(NonZeroU64);

impl Cost {
    /// One permit, which every policy can admit.
    pub const ONE: Self = Self(NonZeroU64::MIN);

    pub(crate) const fn new(cost: u64) -> Option<Self> {
        match NonZeroU64::new(cost) {
            Some(cost) => Some(Self(cost)),
            None => None,
        }
    }

    /// The smaller of this cost and `most`; `None` if `most` is zero.
    pub(crate) fn at_most(self, most: u64) -> Option<Self> {
        Self::new(self.get().min(most))
    }

    /// The number of permits.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

/// Tells one charge from all others, so that a refund gives back no more than is left of it.
///
/// Without a receipt, a refund takes back the newest charges of any caller. With one, it gives back
/// the rest of this very charge: nothing once its window has gone; of a bucket, the part that would
/// not have overflowed by then, as far as that is known. So a late refund never makes room that was
/// not there, however many charges there are, and in whatever order they are given back. (It relies
/// on the times of the store's clock. After a step back, a reset of the key or a refund without a
/// receipt, it may take back later charges of others.)
///
/// A receipt belongs to the numbers it was charged under. Under other numbers it gives nothing
/// back, nor after other numbers have been in force. Of a leaky bucket used as a queue only the
/// newest charge gives anything back: later requests have their places already.
///
/// A receipt of permits in flight names its hold: it gives that one back, or nothing, whatever
/// numbers and whatever times the clock gave since. (If the key was reset or evicted within the
/// microsecond of the charge, another hold may have its number.)
///
/// A receipt is good for one refund.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Receipt {
    pub(crate) at: Timestamp,
    /// The permits charged.
    pub(crate) cost: u64,
    /// Of a bucket, the units that were missing after the charge; of an adaptive hybrid, the tokens
    /// that were left.
    pub(crate) level: u64,
    /// Of a bucket, the permits that had been given back; of an adaptive hybrid, the requests that
    /// its sensor had counted; of permits in flight, the number of their hold.
    pub(crate) count: u64,
    /// Equal for equal numbers; of permits in flight, for equal names.
    pub(crate) scope: u64,
}
