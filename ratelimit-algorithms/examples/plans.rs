//! Plans that are billed by the month, from the day on which each customer signed up.
//!
//! `cargo run -p ratelimit-algorithms --features calendar,toml --example plans`

use std::{env, error::Error, fs, process};

use ratelimit_algorithms::{
    CalendarWindow, Detail, Limiter, LimitsFile, Micros, Period, Tier, Tiers, UNLIMITED,
};
use ratelimit_memory::Memory;

const PLANS: &str = "\
free = '1000/month Europe/Berlin'
pro = '50000/month from 15 Europe/Berlin'
trial = '100/60s'
";

/// The free plan is switched off, and the trial has no limit.
const CHANGED: &str = "\
free = '0'
pro = '50000/month from 15 Europe/Berlin'
trial = 'unlimited'
";

fn main() -> Result<(), Box<dyn Error>> {
    by_sign_up_day()?;
    from_a_file()
}

/// A tier for each day of the month on which a customer can have signed up.
fn by_sign_up_day() -> Result<(), Box<dyn Error>> {
    let plan =
        |from| CalendarWindow::per(1_000, Period::Month { from }).in_zone("America/New_York");
    let tiers = Tiers::new("plan", plan(1))?;
    let from_the_31st = tiers.add("from the 31st", plan(31))?;
    let limiter = Limiter::with_policies(Memory::new(), tiers.in_tier(Tier::DEFAULT))?;

    for limiter in [limiter.clone(), limiter.in_tier(from_the_31st)] {
        let decision = limiter.check("customer:42").now()?;
        let Some(Detail::FixedWindow(month)) = decision.detail(&limiter.policy("customer:42"))
        else {
            unreachable!("a calendar's windows are fixed windows");
        };
        let days = (month.window_end - month.window_start).as_secs_ceil() / 86_400;
        println!(
            "{} left of {} in a month of {days} days, which ends in {}",
            decision.remaining, decision.limit, decision.reset_after
        );
    }
    Ok(())
}

fn from_a_file() -> Result<(), Box<dyn Error>> {
    let path = env::temp_dir().join(format!("plans-{}.toml", process::id()));
    fs::write(&path, PLANS)?;
    let plans = LimitsFile::open(&path)?;
    let store = Memory::new();
    let limiter =
        |name| Limiter::with_policies(store.clone(), plans.live(name).expect("it is there"));
    let [free, pro, trial] = [limiter("free")?, limiter("pro")?, limiter("trial")?];
    assert_eq!(free.check("customer:1").cost(10).now()?.remaining, 990);
    assert_eq!(trial.check("customer:3").now()?.remaining, 99);

    fs::write(&path, CHANGED)?;
    plans.reload()?;
    let denial = free.check("customer:1").now()?;
    assert!(!denial.is_allowed() && denial.retry_after() == Micros::MAX);
    assert_eq!(trial.check("customer:3").cost(1_000_000).now()?.remaining, UNLIMITED);
    assert_eq!(pro.check("customer:2").now()?.remaining, 49_999);

    fs::write(&path, PLANS)?;
    plans.reload()?;
    let decision = free.check("customer:1").now()?;
    println!("{} left, as before the plan was switched off", decision.remaining);
    fs::remove_file(&path)?;
    Ok(())
}
