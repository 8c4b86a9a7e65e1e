//! Likely mistakes, in `tests`, and the compiler's message about each.
