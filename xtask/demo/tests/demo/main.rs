//! The demo, from outside: as a service, and as a page in a browser.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod leases;
mod leases_page;
mod page;
mod service;
mod support;
