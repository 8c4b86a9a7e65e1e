//! Promises to an application on every store: waiting, settling, live change.
//!
//! Each promise is asked of random histories, and of each store in turn.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod each_store;
mod limits;
mod live;
mod settling;
mod time;
mod waiting;

/// Expands to one test of each promise for each store.
macro_rules! on_every_store {
    ($($module:ident: $($promise:ident)*;)*) => {
        mod memory {
            $($(#[test] fn $promise() { crate::$module::$promise(&crate::each_store::memory()); })*)*
        }
        mod sqlite {
            $($(#[test] fn $promise() { crate::$module::$promise(&crate::each_store::sqlite()); })*)*
        }
        mod redis {
            $($(#[test] fn $promise() { crate::$module::$promise(&crate::each_store::redis()); })*)*
        }
    };
}

on_every_store! {
    live:
        changed_limits_decide_as_the_core_does;
    settling:
        permits_that_are_settled_for_less_mint_nothing
        several_permits_are_settled_as_each_alone
        several_that_are_settled_in_any_order_mint_nothing;
    waiting:
        who_waits_is_served_in_order_and_not_a_microsecond_late;
}
