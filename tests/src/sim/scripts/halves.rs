//! One half of a server hangs, while the other goes on (R8).

use super::{
    super::{
        dice::Dice,
        driver::Driver,
        faults::{machine, name, say},
    },
    leader, mend, other, set,
};

/// R8: one disk hangs, and everything else of that machine goes on.
pub fn behind(driver: &mut Driver, dice: &mut Dice) -> u64 {
    let Some(leads) = leader(driver) else { return 200 };
    let at = other(driver, dice, leads);
    let (sync, millis) = (dice.between(2500, 6000), dice.between(2000, 5000));
    say(driver, &format!("a sync takes {sync} ms on {}, for {millis} ms", name(driver, at)));
    driver.paces[at].set_sync(sync);
    driver.later(millis, move |driver| driver.paces[at].set_sync(0));
    millis + sync + dice.between(0, 1000)
}

/// R8: what runs the groups answers no more, and everything else of that node goes on.
pub fn hangs(driver: &mut Driver, dice: &mut Dice) -> u64 {
    let at = machine(driver, dice);
    say(driver, &format!("the group actors of {} hang", name(driver, at)));
    driver.hang_groups(at);
    dice.between(3500, 6000)
}

/// R8: one server is sent only what is short, as over a path whose largest packet is smaller than its ends
/// believe: it hears every beat, and no entry of the log.
pub fn black_hole(driver: &mut Driver, dice: &mut Dice) -> u64 {
    let Some(leads) = leader(driver) else { return 200 };
    let at = other(driver, dice, leads);
    let millis = dice.between(2500, 7000);
    say(driver, &format!("only what is short reaches {}, for {millis} ms", name(driver, at)));
    let ways: Vec<_> = (0..driver.hosts.len()).filter(|from| *from != at).map(|from| (from, at)).collect();
    // Its numbers have a few digits more by now; an entry is longer.
    let short = driver.world.state().network.beat + 40;
    set(driver, &ways, |quality| quality.most = short);
    driver.later(millis, move |driver| mend(driver, &ways));
    millis + dice.between(500, 1500)
}
