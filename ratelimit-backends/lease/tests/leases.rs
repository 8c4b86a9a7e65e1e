//! Leases as an application sees them, on one store in memory that several holders share.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{num::NonZeroUsize, time::Duration};

use ratelimit_algorithms::{
    Adaptive, ConfigError, FixedWindow, InFlight, LeakyBucket, Limiter, Live, Source, Tiers,
    TokenBucket,
};
use ratelimit_backend::{Backend, ManualClock, SyncBackend};
use ratelimit_core::{
    Action, Algorithm, Batch, Check, Decision, Key, Micros, Policy, Timestamp, fixed_window,
    store::Decisions,
};
use ratelimit_lease::{LeaseLength, Leased};
use ratelimit_memory::Memory;

type Store = Memory<ManualClock>;
type Holder = Leased<Store, ManualClock>;

/// A store, and its clock.
fn store() -> (Store, ManualClock) {
    let clock = ManualClock::new(Timestamp::EPOCH + Micros::from_secs(1_700_000_000));
    (Memory::with_clock(clock.clone(), KEYS_MAX), clock)
}

/// A holder of leases of a hundredth of a period.
fn holder(store: &Store, clock: &ManualClock) -> Holder {
    let length = LeaseLength::share(0.01).unwrap();
    Leased::with_clock(store.clone(), length, clock.clone(), KEYS_MAX)
}

const KEYS_MAX: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();

fn bucket() -> Policy {
    Policy::new("bucket", Algorithm::try_from(TokenBucket::per_minute(10_000)).unwrap()).unwrap()
}

fn fixed() -> Policy {
    let quota = fixed_window::Quota::new(1_000, Duration::from_secs(60), Default::default());
    Policy::new("fixed", quota.unwrap()).unwrap()
}

#[track_caller]
fn apply(store: &impl SyncBackend, action: Action, policies: &[&Policy], cost: u64) -> Decisions {
    let key = Key::new("key").unwrap();
    let checks = policies.iter().map(|policy| Check::new(policy, key, cost).unwrap());
    let checks: Vec<_> = checks.collect();
    store.apply_now(Batch::new(&checks).unwrap(), action).unwrap()
}

fn spend(store: &impl SyncBackend, policy: &Policy) -> Decision {
    apply(store, Action::Spend, &[policy], 1)[0]
}

fn remaining(store: &impl SyncBackend, policy: &Policy) -> u64 {
    apply(store, Action::Peek, &[policy], 1)[0].remaining
}

/// Spends until a decision comes from a lease, a hundred times at most.
#[track_caller]
fn make_hot(holder: &Holder, policy: &Policy) -> Decision {
    let mut decisions = (0..100).map(|_| spend(holder, policy));
    decisions.find(|decision| decision.source() == Source::Lease).expect("the key is hot")
}

#[test]
fn a_key_that_is_asked_for_rarely_is_decided_by_the_store() {
    let (store, clock) = store();
    let (holder, policy) = (holder(&store, &clock), bucket());
    for _ in 0..1_000 {
        // Two in the length of a lease.
        clock.advance(Micros::from_millis(300));
        let decision = spend(&holder, &policy);
        assert_eq!((decision.source(), decision.remaining), (Source::Store, 9_999));
    }
    let stats = holder.stats();
    assert_eq!((stats.round_trips, stats.leased), (1_000, 0));
}

#[test]
fn a_hot_key_is_decided_here_and_the_store_is_called_for_few_of_its_requests() {
    let (store, clock) = store();
    let (holder, policy) = (holder(&store, &clock), bucket());
    for count in 1..=9_000 {
        clock.advance(Micros::new(1_000));
        assert!(spend(&holder, &policy).is_allowed(), "{count}");
    }
    let stats = holder.stats();
    assert!(stats.round_trips < 9_000 / 50, "{stats:?}");
    assert_eq!(stats.lapsed, 0, "{stats:?}");
}

/// The same requests, of a full bucket at one instant: each tells what is left, and all get the limit.
#[test]
fn what_remains_is_what_is_held_and_what_the_store_has_and_all_of_it_can_be_spent() {
    let (store, clock) = store();
    let (holder, policy) = (holder(&store, &clock), bucket());
    for left in (0..10_000).rev() {
        let decision = spend(&holder, &policy);
        assert_eq!((decision.is_allowed(), decision.remaining), (true, left));
        assert_eq!(decision.limit, 10_000);
        assert!(decision.reset_after <= Micros::from_secs(60));
    }
    let denial = spend(&holder, &policy);
    assert_eq!((denial.source(), denial.retry_after()), (Source::Store, Micros::from_millis(6)));
    let calls = holder.stats().round_trips;
    let denial = spend(&holder, &policy);
    assert_eq!((denial.source(), denial.retry_after()), (Source::Cache, Micros::from_millis(6)));
    assert_eq!(holder.stats().round_trips, calls + 1);
    clock.advance(Micros::from_millis(6));
    assert!(spend(&holder, &policy).is_allowed());
}

/// All others admit what they hold, for the length of a lease; here it ends at once.
// FAULTS 236.
#[test]
fn a_reset_or_a_block_ends_the_leases_of_the_key_here() {
    for action in [Action::Reset, Action::Block(Micros::from_secs(1))] {
        let (store, clock) = store();
        let (holder, other, policy) = (holder(&store, &clock), holder(&store, &clock), bucket());
        let _ = make_hot(&holder, &policy);
        let _ = make_hot(&other, &policy);
        let held = holder.stats().leased;
        let _ = apply(&holder, action, &[&policy], 1);
        let decision = spend(&holder, &policy);
        assert_eq!(decision.source(), Source::Store, "{action:?}");
        assert_eq!(decision.is_allowed(), action == Action::Reset);
        // One was used.
        assert_eq!(held - 1, holder.stats().lapsed);
        assert_eq!(spend(&other, &policy).source(), Source::Lease);
        clock.advance(Micros::from_millis(600));
        let decision = spend(&other, &policy);
        assert_ne!(decision.source(), Source::Lease);
        assert_eq!(decision.is_allowed(), action == Action::Reset);
    }
}

#[test]
fn a_key_in_debt_is_denied_here_at_once_and_elsewhere_within_the_length_of_a_lease() {
    let (store, clock) = store();
    let [holder, other] = [holder(&store, &clock), holder(&store, &clock)];
    let policy = bucket().with_debt_max(20_000).unwrap();
    let (_, _) = (make_hot(&holder, &policy), make_hot(&other, &policy));
    let fits = apply(&holder, Action::Penalize, &[&policy], 1)[0];
    assert!(!fits.is_in_debt());
    assert_eq!(spend(&holder, &policy).source(), Source::Lease, "a charge that fits ends no lease");

    let left = remaining(&store, &policy);
    let check = Check::penalty(&policy, Key::new("key").unwrap(), left + 10_000).unwrap();
    let charged = holder.apply_now(Batch::one(&check), Action::Penalize).unwrap()[0];
    assert!(charged.is_in_debt());
    let denied = spend(&holder, &policy);
    assert_eq!((denied.is_allowed(), denied.source()), (false, Source::Store));
    // Ten thousand a minute, and one more.
    assert_eq!(denied.retry_after(), Micros::new(60_006_000));
    assert_eq!(spend(&other, &policy).source(), Source::Lease, "these were charged before");
    clock.advance(Micros::from_millis(600));
    assert!(!spend(&other, &policy).is_allowed());
    clock.advance(Micros::new(60_006_000 - 600_000 - 1));
    assert!(!spend(&holder, &policy).is_allowed(), "a microsecond early");
    clock.advance(Micros::new(1));
    assert!(spend(&holder, &policy).is_allowed());
}

// FAULTS 236.
#[test]
fn changed_numbers_end_a_lease() {
    let (store, clock) = store();
    let live = Live::new("api", TokenBucket::per_minute(10_000)).unwrap();
    let limiter = Limiter::with_policies(holder(&store, &clock), live.clone()).unwrap();
    let spend = || limiter.check("key").now().unwrap();
    while spend().source() != Source::Lease {}
    live.update(TokenBucket::per_minute(20_000)).unwrap();
    let decision = spend();
    assert_eq!((decision.source(), decision.limit), (Source::Store, 20_000));
    let refused = live.update(Adaptive::per_minute(20_000));
    assert!(refused.is_err(), "{refused:?}");
}

// FAULTS 236.
#[test]
fn a_key_that_changes_its_tier_has_a_lease_of_one_at_a_time() {
    let (store, clock) = store();
    let tiers = Tiers::new("api", TokenBucket::per_minute(10_000)).unwrap();
    let free = tiers.add("free", TokenBucket::per_minute(20_000)).unwrap();
    let paid = tiers.add("paid", TokenBucket::per_minute(60_000)).unwrap();
    let holder = holder(&store, &clock);
    let limiter = Limiter::with_policies(holder, tiers.in_tier(free)).unwrap();
    let limiters = [limiter.clone(), limiter.in_tier(paid)];
    let spend = |which: usize| limiters[which].check("key").now().unwrap();
    while spend(0).source() != Source::Lease {}
    assert_eq!(spend(1).source(), Source::Store);
    assert_eq!(spend(0).source(), Source::Store);
    while spend(1).source() != Source::Lease {}
    assert_eq!(spend(1).limit, 60_000);
}

#[test]
fn a_batch_is_decided_here_only_if_all_its_keys_have_permits_here() {
    let (store, clock) = store();
    let (holder, bucket, fixed) = (holder(&store, &clock), bucket(), fixed());
    let both = [&bucket, &fixed];
    let spend_both = || apply(&holder, Action::Spend, &both, 1);
    let sources = |decisions: &Decisions| [decisions[0].source(), decisions[1].source()];
    let mut admitted = 0;
    loop {
        let decisions = spend_both();
        let [one, other] = sources(&decisions);
        assert!(one == other, "{decisions:?}");
        if !decisions[0].is_allowed() || !decisions[1].is_allowed() {
            break;
        }
        admitted += 1;
    }
    assert_eq!(admitted, 1_000);
    assert!(holder.stats().round_trips < 300, "{:?}", holder.stats());
    // Besides what was admitted, no more is charged than may be held.
    assert!((8_900..=9_000).contains(&remaining(&store, &bucket)));
}

/// Nothing is taken for a key that could not be used: the others of its batches are not leased.
#[test]
fn a_hot_key_beside_cold_ones_takes_nothing() {
    let (store, clock) = store();
    let (holder, bucket) = (holder(&store, &clock), bucket());
    for number in 0..1_000_u64 {
        let other = Policy::new("cold", Algorithm::try_from(TokenBucket::per_second(5)).unwrap());
        let (other, key) = (other.unwrap(), number.to_le_bytes());
        let checks = [
            Check::new(&bucket, Key::new("key").unwrap(), 1).unwrap(),
            Check::new(&other, Key::new(&key).unwrap(), 1).unwrap(),
        ];
        let decisions = holder.apply_now(Batch::new(&checks).unwrap(), Action::Spend).unwrap();
        assert!(decisions.iter().all(Decision::is_allowed));
    }
    assert_eq!((holder.stats().leased, remaining(&store, &bucket)), (0, 9_000));
}

#[test]
fn a_leased_permit_is_refunded_to_the_store_by_its_receipt() {
    let (store, clock) = store();
    let (holder, policy) = (holder(&store, &clock), bucket());
    let decision = make_hot(&holder, &policy);
    let before = remaining(&store, &policy);
    let receipt = ratelimit_core::Receipt::of(&decision, &policy, 1);
    let check = Check::new(&policy, Key::new("key").unwrap(), 1).unwrap();
    let check = check.with_receipt(Some(receipt));
    holder.apply_now(Batch::one(&check), Action::Refund).unwrap();
    assert_eq!(remaining(&store, &policy), before + 1);
}

#[test]
fn what_cannot_be_leased_is_refused_when_a_limiter_is_built() {
    let (store, clock) = store();
    let refused = |algorithm: Result<Algorithm, ConfigError>| {
        let policy = Policy::new("limit", algorithm.unwrap()).unwrap();
        let without = Leased::new(store.clone(), LeaseLength::NONE);
        assert_eq!(without.accepts(&policy), Ok(()));
        holder(&store, &clock).accepts(&policy)
    };
    let not_leasable = |algorithm| Err(ConfigError::NotLeasable { algorithm });
    assert_eq!(refused(Adaptive::per_minute(10).try_into()), not_leasable("adaptive hybrid"));
    let queue = LeakyBucket::per_minute(10).queue(Duration::from_secs(1));
    assert_eq!(refused(queue.try_into()), not_leasable("leaky bucket"));
    let in_flight = InFlight::limit(4).held_at_most(Duration::from_secs(60));
    assert_eq!(refused(in_flight.try_into()), not_leasable("in flight"));
    assert_eq!(refused(LeakyBucket::per_minute(10).try_into()), Ok(()));
    assert_eq!(refused(Ok(fixed_window::Quota::nothing().into())), Ok(()));
    assert_eq!(refused(FixedWindow::per_minute(10).try_into()), Ok(()));
}

/// Exact numbers are numbers of a policy, so the store knows them.
// FAULTS 236.
#[test]
fn holders_that_disagree_are_refused_in_a_process_and_admit_no_more_than_each_alone_across_processes()
 {
    let (store, clock) = store();
    let plain = Algorithm::try_from(TokenBucket::per_minute(10_000)).unwrap();
    let exact = plain.for_leases(Micros::from_millis(600)).unwrap();
    let holder = holder(&store, &clock);
    let _limiter = Limiter::new(holder.clone(), "api", plain.clone()).unwrap();
    let refused = Limiter::new(holder.clone(), "api", exact.clone());
    assert_eq!(refused.map(|_| ()), Err(ConfigError::DuplicateName));
    // Policies of their own, as another process has them.
    let policies = [plain, exact].map(|algorithm| Policy::new("api", algorithm).unwrap());
    let admitted = (0..30_000).filter(|turn| {
        let policy = &policies[turn / 100 % 2];
        spend(&holder, policy).is_allowed()
    });
    assert!(admitted.count() <= 10_000 + 9_900);
}

#[test]
fn a_limit_of_everything_is_counted_by_the_store() {
    let (store, clock) = store();
    let quota = fixed_window::Quota::new(1, Duration::from_secs(60), Default::default()).unwrap();
    let policy = Policy::new("all", quota.unlimited()).unwrap();
    let holder = holder(&store, &clock);
    assert!((0..1_000).all(|_| spend(&holder, &policy).source() == Source::Store));
}

#[test]
fn a_share_is_from_nothing_to_the_whole() {
    for share in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(LeaseLength::share(share), Err(ConfigError::NotFinite { field: "share" }));
    }
    let out_of_range = Err(ConfigError::OutOfRange { field: "share", low: 0.0, high: 1.0 });
    for share in [-0.01, 1.01, f64::MAX] {
        assert_eq!(LeaseLength::share(share), out_of_range);
    }
    for share in [0.0, 1e-6, 1.0] {
        assert!(LeaseLength::share(share).is_ok());
    }
}

/// The table stays at its size, and no flood of keys ends a lease.
// FAULTS 236.
#[test]
fn a_million_keys_take_no_more_room_than_the_table_has_and_end_no_lease() {
    let (_, clock) = store();
    let store = Memory::with_clock(clock.clone(), NonZeroUsize::new(2_000_000).unwrap());
    let (holder, policy) = (holder(&store, &clock), bucket());
    let _ = make_hot(&holder, &policy);
    let keys = if std::env::var_os("RATELIMIT_FULL").is_some() { 1_000_000_u64 } else { 50_000 };
    for number in 0..keys {
        let key = number.to_le_bytes();
        let check = Check::new(&policy, Key::new(&key).unwrap(), 1).unwrap();
        for _ in 0..2 {
            holder.apply_now(Batch::one(&check), Action::Spend).unwrap();
        }
    }
    assert_eq!(spend(&holder, &policy).source(), Source::Lease);
}

// FAULTS 236.
#[test]
fn a_table_that_is_full_of_leases_ends_none_of_them_for_another_key() {
    let (store, clock) = store();
    let length = LeaseLength::share(0.01).unwrap();
    let holder = Leased::with_clock(store, length, clock, NonZeroUsize::new(8).unwrap());
    let policy = |number| {
        let algorithm = Algorithm::try_from(TokenBucket::per_minute(10_000)).unwrap();
        Policy::new(&format!("bucket-{number}"), algorithm).unwrap()
    };
    let (leased, other) = ([0, 1, 2, 3, 4, 5, 6, 7].map(policy), policy(8));
    for policy in &leased {
        let _ = make_hot(&holder, policy);
    }
    assert!((0..100).all(|_| spend(&holder, &other).source() == Source::Store));
    assert!(leased.iter().all(|policy| spend(&holder, policy).source() == Source::Lease));
}

#[test]
fn closing_gives_back_what_is_held_and_every_request_goes_to_the_store() {
    let (store, clock) = store();
    let (holder, policy) = (holder(&store, &clock), bucket());
    let _ = make_hot(&holder, &policy);
    let used = 10_000 - remaining(&store, &policy) - holder.stats().leased;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let given_back = runtime.block_on(holder.close());
    assert_eq!(given_back, holder.stats().leased - 1);
    assert_eq!(remaining(&store, &policy), 10_000 - used - 1);
    assert_eq!(spend(&holder, &policy).source(), Source::Store);
}

#[test]
fn permits_of_a_key_that_has_cooled_go_back_beside_a_take_for_another_key() {
    let (store, clock) = store();
    let (holder, cool, hot) = (holder(&store, &clock), bucket(), fixed());
    let _ = make_hot(&holder, &cool);
    let held = holder.stats().leased - 1;
    clock.advance(Micros::from_millis(200));
    while holder.stats().given_back == 0 {
        assert!(spend(&holder, &hot).is_allowed());
    }
    assert_eq!((holder.stats().given_back, remaining(&store, &cool)), (held, 10_000));
}

// FAULTS 56.
#[test]
fn a_take_that_is_dropped_with_its_runtime_makes_way_for_another() {
    let (store, clock) = store();
    let (holder, policy) = (holder(&store, &clock), bucket());
    let limiter = Limiter::with_policies(holder.clone(), policy.clone()).unwrap();
    let check = async || limiter.check("key").await.unwrap();
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    // Takes that were spawned and never polled.
    for _ in 0..8 {
        let _ = runtime().block_on(check());
    }
    assert_eq!(holder.stats().leased, 0);
    runtime().block_on(async {
        let _ = check().await;
        tokio::task::yield_now().await;
        assert_eq!(check().await.source(), Source::Lease);
    });
}

#[test]
fn without_a_runtime_every_request_goes_to_the_store() {
    let (store, clock) = store();
    let (holder, policy) = (holder(&store, &clock), bucket());
    let key = Key::new("key").unwrap();
    for _ in 0..100 {
        let check = Check::new(&policy, key, 1).unwrap();
        let mut reply = std::pin::pin!(holder.apply(Batch::one(&check), Action::Spend));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let polled = reply.as_mut().poll(&mut context);
        let std::task::Poll::Ready(Ok(decisions)) = polled else { panic!("{polled:?}") };
        assert_eq!(decisions[0].source(), Source::Store);
    }
}
