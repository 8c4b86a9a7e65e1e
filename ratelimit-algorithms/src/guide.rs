//! A guide, in short chapters: choosing, operating, failing, testing, extending.
//!
//! This module is documentation, without code.

#[doc = include_str!("guide/choosing_an_algorithm.md")]
pub mod choosing_an_algorithm {}

#[cfg(feature = "toml")]
#[doc = include_str!("guide/choosing_a_limit.md")]
pub mod choosing_a_limit {}

#[cfg(feature = "calendar")]
#[doc = include_str!("guide/calendars.md")]
pub mod calendars {}

#[doc = include_str!("guide/language_models.md")]
pub mod language_models {}

#[doc = include_str!("guide/choosing_a_store.md")]
pub mod choosing_a_store {}

#[doc = include_str!("guide/leases.md")]
#[doc = include_str!("guide/leases.svg")]
pub mod leases {}

#[doc = include_str!("guide/operating.md")]
pub mod operating {}

#[doc = include_str!("guide/when_the_store_fails.md")]
pub mod when_the_store_fails {}

#[doc = include_str!("guide/keys_and_privacy.md")]
pub mod keys_and_privacy {}

#[cfg(feature = "tokio")]
#[doc = include_str!("guide/testing.md")]
pub mod testing {}

#[doc = include_str!("guide/writing_a_store.md")]
pub mod writing_a_store {}
