//! Every promise of a rate-limit store as a test, in one macro line.
