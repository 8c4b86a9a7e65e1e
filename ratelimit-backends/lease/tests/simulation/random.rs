//! Random traces: whatever happens to holders, network and store, no more is admitted than the theorem says.

use std::slice;

use fastrand::Rng;
use ratelimit_core::{Action, LeaseTerms, Micros, Policy, Source};
use ratelimit_servers::effort;

use crate::{bound::Limit, world::World};

/// The settings of a trace.
#[derive(Clone, Debug)]
struct Scene {
    limit: Limit,
    policy: Policy,
    length: Micros,
    holders: usize,
    /// Its numbers are those under which leases exceed nothing.
    is_exact: bool,
    /// Another limit beside it, which some requests are checked against as well.
    other: (Limit, Policy),
}

/// The results of traces.
#[derive(Clone, Copy, Debug, Default)]
struct Summary {
    /// Permits that were used from leases.
    leased: u64,
    /// Permits that the store itself admitted.
    direct: u64,
    /// Traces in which more than the limit was admitted, and those in which it was all that the theorem allows.
    above: u64,
    reached: u64,
}

// FAULTS 236.
#[test]
fn nothing_that_happens_makes_holders_admit_more_than_the_theorem_says() {
    let traces = effort(1_000_000, 2_000);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let part = |first| {
        let seeds = (first..traces).step_by(threads);
        seeds.fold(Summary::default(), |sum, seed| sum.and(&trace(seed as u64)))
    };
    let sum = std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads).map(|first| scope.spawn(move || part(first))).collect();
        let parts = parts.into_iter().map(|part| part.join().expect("a trace panicked"));
        parts.fold(Summary::default(), |sum, part| sum.and(&part))
    });
    println!("{traces} traces: {sum:?}");
    // The traces are about leases, and some come to the bound.
    assert!(sum.direct < 9 * sum.leased && traces as u64 / 100 < sum.above, "{sum:?}");
}

impl Summary {
    const fn and(self, other: &Self) -> Self {
        Self {
            leased: self.leased + other.leased,
            direct: self.direct + other.direct,
            above: self.above + other.above,
            reached: self.reached + other.reached,
        }
    }
}

fn scene(rng: &mut Rng) -> Scene {
    loop {
        let (limit, window) = (rng.u64(8..200), rng.u64(100_000..10_000_000));
        let limit = match rng.u8(0..5) {
            0 => Limit::Fixed { limit, window },
            1 => Limit::Log { limit, window },
            2 => Limit::Counter { limit, window },
            _ => Limit::Bucket { burst: rng.u64(8..200), limit, window },
        };
        let length = Micros::new(window / [100, 20, 10, 4, 2, 1][rng.usize(0..6)]);
        let plain = limit.algorithm(rng.bool());
        let exact = plain.for_leases(length).ok().filter(|_| rng.bool());
        let is_exact = exact.is_some();
        let policy = Policy::new("limit", exact.unwrap_or(plain)).expect("a name");
        let terms = LeaseTerms::new(&policy, length).expect("what is simulated can be leased");
        if 3 < terms.held_max() {
            let other = Limit::Fixed { limit: 2 * limit.permits(), window: limit.window() };
            let other = (other, Policy::new("other", other.algorithm(false)).expect("a name"));
            let holders = rng.usize(1..=8);
            return Scene { limit, policy, length, holders, is_exact, other };
        }
    }
}

fn trace(seed: u64) -> Summary {
    let mut rng = Rng::with_seed(seed);
    let scene = scene(&mut rng);
    let mut summary = Summary::default();
    World::run(scene.holders, scene.length, async |world| {
        for holder in &mut world.holders {
            holder.drift = rng.i64(-1_000..=1_000);
        }
        world.advance(rng.u64(0..scene.limit.window()));
        let mut lost = 0;
        for _ in 0..rng.usize(20..150) {
            lost += happen(world, &scene, &mut rng).await;
        }
        summary = conclude(world, &scene, lost, seed);
    });
    summary
}

/// Lets something happen. Returns the permits whose charges the store forgot by that.
async fn happen(world: &mut World, scene: &Scene, rng: &mut Rng) -> u64 {
    let holder = rng.usize(0..scene.holders);
    let both = [scene.policy.clone(), scene.other.1.clone()];
    let policies = &both[..if rng.u8(0..4) == 0 { 2 } else { 1 }];
    match rng.u8(0..100) {
        0..20 => world.advance(some_time(scene, rng)),
        20..45 => {
            let cost = if rng.u8(0..4) == 0 { rng.u64(1..4) } else { 1 };
            for _ in 0..rng.usize(1..10) {
                world.request(holder, policies, cost).await;
            }
        }
        45..48 => {
            world.drain(holder, &scene.policy).await;
        }
        48..51 => hoard(world, scene, rng).await,
        51..53 => burst(world, scene).await,
        53..55 => {
            hoard(world, scene, rng).await;
            let length = scene.length.as_micros();
            world.advance(length - length / 1_000 - rng.u64(1..4));
            burst(world, scene).await;
        }
        55..70 => serve_some(world, rng),
        70..85 if 0 < world.replies() => {
            let reply = rng.usize(0..world.replies());
            if rng.u8(0..8) == 0 {
                world.lose_reply(reply).await
            } else {
                world.deliver(reply).await
            }
        }
        85..91 => world.flush().await,
        91..93 => world.crash(holder).await,
        93..94 => world.close(holder).await,
        94..96 if 0 < world.messages() => world.lose_message(rng.usize(0..world.messages())).await,
        96..98 if !world.admissions().is_empty() => {
            let admission = rng.usize(0..world.admissions().len());
            world.refund(&both, admission).await;
        }
        98 => world.remember(),
        99 if rng.bool() => return world.fail_over(),
        _ => {}
    }
    0
}

/// Some holders take as much as they may. Their keys are hot with requests that the store has not seen, so
/// that it has charged nothing for them.
async fn hoard(world: &mut World, scene: &Scene, rng: &mut Rng) {
    let first = rng.usize(0..scene.holders);
    let policies = slice::from_ref(&scene.policy);
    for holder in first..scene.holders {
        for _ in 0..8 {
            world.request(holder, policies, (scene.policy.limit() / 4).max(1)).await;
            if let Some(message) = world.senders().iter().rposition(|(from, _)| *from == holder) {
                world.lose_message(message).await;
            }
        }
        for _ in 0..2 {
            world.request(holder, policies, 1).await;
            world.flush().await;
        }
    }
}

/// Everything that is held is used, and all that the store has.
async fn burst(world: &mut World, scene: &Scene) {
    for holder in 0..scene.holders {
        world.drain(holder, &scene.policy).await;
    }
    let remaining = world.apply(&scene.policy, Action::Peek, 1).remaining;
    if 0 < remaining {
        let _ = world.apply(&scene.policy, Action::Spend, remaining);
    }
}

/// Serves some messages, in any order: those of some holders wait, as behind a partition.
fn serve_some(world: &mut World, rng: &mut Rng) {
    let partitioned = rng.u8(0..=u8::MAX);
    for _ in 0..rng.usize(1..8) {
        let senders = world.senders();
        let is_reachable = |&index: &usize| {
            let (holder, _): (usize, Action) = senders[index];
            partitioned >> holder & 1 == 0
        };
        let reachable: Vec<_> = (0..senders.len()).filter(is_reachable).collect();
        if let Some(&message) = rng.choice(&reachable) {
            world.serve(message);
        }
    }
}

/// Moments, about the length of a lease (to the microsecond before it ends), or about a window.
fn some_time(scene: &Scene, rng: &mut Rng) -> u64 {
    let length = scene.length.as_micros();
    match rng.u8(0..10) {
        0..5 => rng.u64(0..=length / 30),
        5..7 => rng.u64(0..=length / 4),
        7 => length - length / 1_000 - rng.u64(0..3),
        8 => rng.u64(0..=length + length / 100),
        _ => rng.u64(0..=scene.limit.window()),
    }
}

fn conclude(world: &World, scene: &Scene, lost: u64, seed: u64) -> Summary {
    let mut uses = world.uses(0);
    uses.sort_by_key(|one| one.at);
    let excess = scene.limit.excess(&uses) - i128::from(lost);
    let terms =
        LeaseTerms::new(&scene.policy, scene.length).expect("what is simulated can be leased");
    let holders = scene.holders as u64;
    let bound = if scene.is_exact { 0 } else { i128::from(terms.excess_max(holders)) };
    assert!(excess <= bound, "seed {seed}: {excess} above the limit, {bound} allowed: {scene:?}");
    let mut uses = world.uses(1);
    uses.sort_by_key(|one| one.at);
    let excess_of_other = scene.other.0.excess(&uses) - i128::from(lost);
    assert!(
        excess_of_other <= 0,
        "seed {seed}: {excess_of_other} above the other limit: {scene:?}"
    );
    let permits = |source| {
        let admissions = world.admissions();
        admissions.iter().filter(|one| one.source == source).map(|one| one.permits).sum()
    };
    Summary {
        leased: permits(Source::Lease),
        direct: permits(Source::Store),
        above: u64::from(0 < excess),
        reached: u64::from(0 < bound && excess == bound),
    }
}
