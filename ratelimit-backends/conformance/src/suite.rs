//! The macro, and the one list of promises.

use ratelimit_backend::{Backend, ManualClock};
use tokio::runtime;

use crate::{
    Effort, StoreUnderTest,
    store_under_test::{RETENTION, START},
};

/// Makes a store, and runs the test of a promise on it.
///
/// # Panics
///
/// If the store breaks the promise.
pub fn run<B: Backend + 'static>(
    make: impl AsyncFnOnce(ManualClock) -> B,
    effort: Effort,
    promise: impl AsyncFnOnce(StoreUnderTest),
) {
    let mut runtime = runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(WORKERS).enable_all().build();
    runtime.expect("a runtime can be made").block_on(async {
        let clock = ManualClock::new(START).with_retention(RETENTION);
        let backend = make(clock.clone()).await;
        promise(StoreUnderTest::new(backend, clock, effort)).await;
    });
}

/// So many threads that two of them meet even where there is one core.
const WORKERS: usize = 4;

/// Writes the macro and its documentation from the list below. A promise that is missing from
/// the list is dead code, which the compiler says. `$d` is a dollar sign.
macro_rules! promises {
    ($d:tt $($module:ident: $($name:ident)*;)*) => {
        #[doc(hidden)]
        pub mod promise {
            $($(pub use crate::$module::$name;)*)*
        }

        /// Expands to one test for each promise of a store.
        ///
        /// The first argument is an async function, most often a closure, that makes a new, empty
        /// store which goes by the clock that it is given:
        ///
        /// ```
        /// # use ratelimit_backend::{Backend, BackendError, ManualClock, Names, Reply};
        /// # use ratelimit_core::{Action, Batch};
        /// # use ratelimit_conformance::Effort;
        /// # struct MyStore;
        /// # impl MyStore {
        /// #     fn with_clock(_: ManualClock) -> Self { Self }
        /// #     async fn connect(_: ManualClock) -> Result<Self, BackendError> { Ok(Self) }
        /// # }
        /// # impl Backend for MyStore {
        /// #     fn apply<'a>(&'a self, _: Batch<'a>, _: Action) -> Reply<'a> { unimplemented!() }
        /// #     fn names(&self) -> &Names { unimplemented!() }
        /// # }
        /// mod local {
        /// #   use {super::*, ratelimit_conformance::suite};
        ///     suite!(async |clock| MyStore::with_clock(clock));
        /// }
        /// mod remote {
        /// #   use {super::*, ratelimit_conformance::suite};
        ///     suite!(
        ///         async |clock| MyStore::connect(clock).await.expect("the server is there"),
        ///         Effort::new().with_checks_per_task(20)
        ///     );
        /// }
        /// ```
        ///
        /// The second one, which may be left out, is an [`Effort`](crate::Effort). The function
        /// is called once in each test, within a runtime that ends with it.
        ///
        /// The clock often stands still during a test. A store that also expires records by another
        /// clock has to keep them for some seconds more when it is tested. A store may return
        /// [`Overloaded`](ratelimit_backend::ErrorKind::Overloaded) if nothing was charged: the
        /// suite retries.
        ///
        /// # The promises
        ///
        $($(#[doc = concat!("- `", stringify!($name), "`")])*)*
        #[macro_export]
        macro_rules! suite {
            ($d make:expr $d(,)?) => {
                $d crate::suite!($d make, $d crate::Effort::new());
            };
            ($d make:expr, $d effort:expr $d(,)?) => {
                $($(
                    #[test]
                    fn $name() {
                        $d crate::run($d make, $d effort, $d crate::promise::$name);
                    }
                )*)*
            };
        }
    };
}

promises! { $
    traces:
        fixed_windows_decide_as_the_core
        sliding_window_logs_decide_as_the_core
        sliding_window_counters_decide_as_the_core
        token_buckets_decide_as_the_core
        leaky_buckets_decide_as_the_core
        adaptive_hybrids_decide_as_the_core
        permits_in_flight_decide_as_the_core
        batches_decide_as_the_core
        algorithms_that_change_decide_as_the_core
        long_logs_decide_as_the_core
        growing_stores_decide_as_the_core;
    one_key:
        a_peek_changes_nothing
        a_denial_charges_nothing
        a_reset_makes_a_key_as_good_as_new
        a_refund_gives_back_no_more_than_was_charged
        a_charge_takes_what_fits_without_asking
        a_take_gets_what_there_is_and_then_nothing
        a_debt_is_paid_back_to_the_microsecond
        what_is_given_back_pays_a_debt_first
        a_block_denies_until_it_is_over
        a_late_refund_of_a_charge_gives_back_nothing_of_others
        retry_after_is_neither_early_nor_late
        reset_after_is_neither_early_nor_late
        a_clock_that_steps_back_grants_nothing
        a_step_back_within_the_retention_finds_what_had_expired;
    holds:
        permits_are_held_as_the_model_says_and_never_more_than_the_limit
        a_permit_is_given_back_once_by_its_receipt
        a_permit_lapses_at_its_instant
        a_permit_that_is_extended_lapses_later
        permits_and_rates_are_held_as_one
        a_receipt_of_permits_in_flight_is_good_whatever_numbers_have_come;
    batches:
        a_batch_is_charged_as_one
        a_denied_batch_charges_nothing
        a_batch_takes_a_part_of_each_or_nothing
        one_key_under_several_policies_is_several_states
        a_dropped_reply_leaves_one_whole_charge_or_none
        an_empty_batch_has_no_decisions;
    live_change:
        changed_numbers_are_read_as_is
        changed_numbers_are_read_in_proportion
        changed_numbers_start_anew
        numbers_that_come_back_find_what_they_left
        a_receipt_of_before_a_change_gives_nothing_back
        another_algorithm_is_incompatible_until_a_reset
        another_algorithm_starts_anew_once_the_old_state_has_expired
        another_algorithm_starts_anew_where_the_policy_says_so
        a_limit_that_is_turned_off_denies_and_keeps_what_is_stored
        a_limit_that_is_unlimited_counts_and_never_denies
        a_calendar_that_is_renewed_keeps_what_is_spent
        a_name_means_one_set_of_numbers;
    keys:
        hostile_keys_are_keys_like_any
        names_and_keys_do_not_run_into_each_other;
    races:
        tasks_at_once_spend_a_fixed_window_exactly
        tasks_at_once_spend_a_sliding_window_log_exactly
        tasks_at_once_spend_a_sliding_window_counter_exactly
        tasks_at_once_spend_a_token_bucket_exactly
        tasks_at_once_spend_a_leaky_bucket_exactly
        tasks_at_once_spend_an_adaptive_hybrid_exactly
        tasks_at_once_hold_permits_in_flight_exactly
        tasks_at_once_hold_no_more_than_the_limit
        tasks_at_once_feed_a_shared_sensor_exactly
        batches_in_opposite_orders_neither_wait_nor_overspend
        takes_at_once_get_no_more_than_there_is
        refunds_at_once_lose_nothing
        refunds_of_charges_and_penalties_amid_checks_are_counted_exactly
        penalties_at_once_owe_no_more_than_they_may
        a_block_amid_checks_denies_all_that_follow
        a_reset_amid_checks_grants_one_limit;
}
