//! Tests of what the public interface does not show: the scripts by themselves.

mod lua;
mod server;
