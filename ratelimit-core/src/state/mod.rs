//! What is kept for a key.

pub(crate) mod block;
pub(crate) mod entries;
pub(crate) mod level;
pub(crate) mod load;
pub(crate) mod sensor;
