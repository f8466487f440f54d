//! The lease and the time that others wait for it: rounds that nobody answers (R1, R11), clocks that run
//! apart (R9), and one that stood still (R38). Each script makes the moment, instead of waiting for it.

use std::time::Duration;

use tasuki_core::registry::Command;

use super::{
    super::{
        dice::Dice,
        driver::Driver,
        faults::{name, say, tell},
        machine::Freeze,
        network::{GOOD, Quality},
    },
    alone, leader, leased, mend, other, set, when,
};

/// How far a clock that Linux slews may be off, in millionths: one twelfth, rounded down.
const SLEWED: i64 = 83_000;

/// Where something runs, on another server than the one that leads. Where there is none, an operator moves
/// a group there first.
fn owner(driver: &mut Driver, dice: &mut Dice, leads: usize) -> Option<usize> {
    let owners: Vec<usize> = {
        let state = driver.world.state();
        let all = state.machines.iter().enumerate();
        all.filter(|(at, machine)| *at != leads && !machine.running.is_empty()).map(|(at, _)| at).collect()
    };
    let owner = dice.pick(&owners).copied();
    if owner.is_none()
        && let Some(group) = driver.newest.groups.keys().next().cloned()
    {
        let to = driver.world.state().machines[other(driver, dice, leads)].name.clone();
        tell(driver, leads, Command::MoveGroup { group, to: Some(to), force: true });
    }
    owner
}

/// A server was renewed, and of its lease no more than this is gone.
fn just_renewed(driver: &Driver, at: usize, gone: Duration) -> bool {
    let fresh = driver.config.settings.timing.lease - gone;
    let state = driver.world.state();
    let machine = &state.machines[at];
    machine.lease().is_some_and(|end| end.since(machine.now()) >= fresh)
}

fn set_rates(driver: &Driver, rate: impl Fn(usize) -> i64) {
    for (at, machine) in driver.world.state().machines.iter_mut().enumerate() {
        machine.rate = rate(at);
    }
}

/// R9: an owner's clock is as slow as a clock may be, those of all others as fast, what runs there needs
/// the whole budget to be stopped, and it is cut off right after it was renewed from a round that was as
/// young: what the leader counts and what the holder does began at the same moment. Whoever takes over then
/// has nothing to wait with but the budget and the margin.
pub fn drift(driver: &mut Driver, dice: &mut Dice) -> u64 {
    let Some(leads) = leader(driver) else { return 200 };
    let Some(at) = owner(driver, dice, leads) else { return 600 };
    let (slewed, cut) = (dice.between(300, 900), dice.between(1800, 3000));
    let gone = driver.config.settings.timing.lease / 50;
    say(driver, &format!("the clock of {} runs slow, those of all others fast", name(driver, at)));
    set_rates(driver, |one| if one == at { -SLEWED } else { SLEWED });
    driver.world.state().machines[at].whole_budget = true;
    driver.later(slewed, move |driver| {
        when(
            driver,
            1000, // the rounds' ages go through all there are, as the clocks run apart
            move |driver| just_renewed(driver, at, gone),
            move |driver| {
                say(driver, &format!("{} is cut off for {cut} ms", name(driver, at)));
                let cables = alone(at, driver);
                set(driver, &cables, |quality| *quality = Quality { cut: true, ..GOOD });
                driver.later(cut, move |driver| mend(driver, &cables));
            },
        );
    });
    let end = slewed + 1000 + cut;
    driver.later(end, move |driver| {
        set_rates(driver, |_| 0);
        driver.world.state().machines[at].whole_budget = false;
    });
    end + dice.between(1500, 2500)
}

/// R38: an owner's processes and its clock stand still, as under a pause of a virtual machine, from right
/// after a renewal until its groups run elsewhere; and it goes on where no word reaches it.
pub fn jump(driver: &mut Driver, dice: &mut Dice) -> u64 {
    let Some(leads) = leader(driver) else { return 200 };
    let Some(at) = owner(driver, dice, leads) else { return 600 };
    let (still, deaf) = (dice.between(1800, 3000), dice.between(600, 1200));
    // A round may be two beats old when it renews, and the answer is on its way for a while.
    let gone = driver.config.settings.timing.beat * 3;
    when(
        driver,
        1000,
        move |driver| just_renewed(driver, at, gone),
        move |driver| {
            say(driver, &format!("{} is paused, and cut off for {} ms", name(driver, at), still + deaf));
            let cables = alone(at, driver);
            set(driver, &cables, |quality| *quality = Quality { cut: true, ..GOOD });
            driver.freeze(at, Freeze::Clock, still);
            driver.later(still + deaf, move |driver| mend(driver, &cables));
        },
    );
    1000 + still + deaf + dice.between(1500, 2500)
}

/// Nothing is in a server's log that it has not applied: its grants count at once (R4).
fn has_applied_all(driver: &Driver, at: usize) -> bool {
    let status = driver.node(at).map(|node| node.status().raft);
    status.is_some_and(|raft| raft.applied == raft.last_log)
}

/// R1, R11: datagrams pass and no call does, as where something between forgets connections: whoever leads
/// is heard, and answered by nobody. It has nothing to commit, and nobody asks it anything, so that no
/// other rule ends what it grants itself.
pub fn unanswered(driver: &mut Driver, dice: &mut Dice) -> u64 {
    let Some(leads) = leader(driver).filter(|at| leased(driver, *at)) else { return 200 };
    let millis = dice.between(2500, 4500);
    driver.quiet = Some(leads);
    when(
        driver,
        500,
        move |driver| has_applied_all(driver, leads),
        move |driver| {
            say(driver, &format!("no call passes from or to {} for {millis} ms", name(driver, leads)));
            let cables = alone(leads, driver);
            set(driver, &cables, |quality| quality.stuck = (8000, 8000));
            driver.later(millis, move |driver| mend(driver, &cables));
        },
    );
    driver.later(500 + millis, |driver| driver.quiet = None);
    500 + millis + dice.between(1500, 3000)
}
