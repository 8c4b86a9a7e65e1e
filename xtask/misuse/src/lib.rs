//! Likely mistakes, in `tests`, and what the compiler says of each.
