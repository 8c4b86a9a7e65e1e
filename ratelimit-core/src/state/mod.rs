//! The record of a key, and the parts that states are made of.

pub(crate) mod block;
pub(crate) mod compact;
pub(crate) mod debt;
pub(crate) mod earlier;
pub(crate) mod entries;
pub(crate) mod key_state;
pub(crate) mod level;
pub(crate) mod load;
pub(crate) mod record;
pub(crate) mod sensor;
