//! What memory promises beyond what every store does: a bound that is kept, forgetting that
//! nobody notices, and threads that meet.

mod asking;

mod capacity;
mod forgetting;
mod history;
mod panics;
mod threads;
