//! Operators who take servers out for good and bring them in again, one at a time, by commands and by
//! the configuration; and who change what the configuration says of groups.

use tasuki_core::registry::{Author, Command, Key, state::AfterStop};

use super::{
    dice::Dice,
    driver::Driver,
    faults::{machine, say, tell},
    scripts::stores::{is_whole, join_anew, store_lost},
};

/// How often an operator looks whether a server has stopped.
const LOOK: u64 = 300;

/// Something changes; answers for how long nothing else of the kind should.
pub fn change(driver: &mut Driver, dice: &mut Dice) -> u64 {
    // Of two servers that share no record the one that stays could not go on.
    let may = driver.hosts.len() > 2 || driver.world.state().votes.record.is_some();
    if !may || !is_whole(driver) {
        return 300;
    }
    match dice.below(5) {
        0 | 1 => remove(driver, dice),
        2 | 3 => store_lost(driver, dice),
        _ => push(driver, dice),
    }
}

/// Whether the newest registry knows this machine's server.
pub fn is_configured(driver: &Driver, at: usize) -> bool {
    let server = driver.world.state().machines[at].name.clone();
    driver.newest.lineage.is_none() || driver.newest.servers.contains_key(&server)
}

/// A server leaves, is taken out of the configuration and of Raft, and joins again later with an empty
/// store. Meanwhile its machine is off, or somebody starts it with the store that it had.
fn remove(driver: &mut Driver, dice: &mut Dice) -> u64 {
    let at = machine(driver, dice);
    let server = driver.world.state().machines[at].name.clone();
    let Some(by) = asked(driver, at) else { return 300 };
    say(driver, &format!("{server} is taken out for good"));
    tell(driver, by, Command::ServerLeave { server, after: AfterStop::Nothing });
    let (stays_on, away) = (dice.permille(400), dice.between(1500, 4000));
    driver.later(LOOK, move |driver| take_out(driver, at, 15, stays_on, away));
    away + 9000
}

fn take_out(driver: &mut Driver, at: usize, tries: u64, stays_on: bool, away: u64) {
    if !is_configured(driver, at) {
        if stays_on {
            super::faults::restart_guards(driver);
        } else {
            driver.power_off(at, 0, None);
            driver.lose_store(at);
        }
        driver.later(away, move |driver| bring_in(driver, at));
        return;
    }
    let server = driver.world.state().machines[at].name.clone();
    let left = driver.newest.presence(&server).is_some_and(|presence| !presence.up);
    if left
        && let Some(config) = driver.newest.config()
        && let Ok(config) = config.without_server(&server)
    {
        decide(driver, at, Command::RemoveServer { server, config });
    }
    match tries.checked_sub(1) {
        Some(tries) => driver.later(LOOK, move |driver| take_out(driver, at, tries, stays_on, away)),
        // It is needed, or the others do not answer: it stays.
        None => super::faults::restart_guards(driver),
    }
}

/// A machine whose server was taken out gets an empty store, and joins.
pub fn bring_in(driver: &mut Driver, at: usize) {
    driver.power_off(at, 0, None);
    driver.lose_store(at);
    join_anew(driver, at);
}

/// Its server is put into the configuration again, as it was.
pub fn configure(driver: &mut Driver, at: usize) {
    let server = driver.world.state().machines[at].name.clone();
    let (Some(mut config), Some(known)) = (driver.newest.config(), driver.config.servers.get(&server)) else {
        return;
    };
    config.servers.insert(server.clone(), known.clone());
    for group in config.groups.values_mut().filter(|group| !group.servers.contains(&server)) {
        group.servers.push(server.clone());
    }
    decide(driver, at, Command::SetConfig { config });
}

/// Groups prefer other servers from now on.
fn push(driver: &mut Driver, dice: &mut Dice) -> u64 {
    let Some(mut config) = driver.newest.config() else { return 300 };
    let turn = usize::try_from(dice.between(1, 2)).unwrap_or(1);
    for group in config.groups.values_mut() {
        let all = group.servers.len().max(1);
        group.servers.rotate_left(turn % all);
    }
    say(driver, "groups prefer other servers");
    decide(driver, driver.hosts.len(), Command::SetConfig { config });
    1000
}

/// Whom an operator asks about a machine: another one that answers.
fn asked(driver: &Driver, about: usize) -> Option<usize> {
    (0..driver.hosts.len()).find(|by| *by != about && driver.node(*by).is_some())
}

/// An operator's command, by the configuration as the newest registry has it (R12).
fn decide(driver: &mut Driver, about: usize, command: Command) {
    let Some(by) = asked(driver, about) else { return };
    let (Some(node), Some(host)) = (driver.node(by), &driver.hosts[by]) else { return };
    let read = vec![(Key::Configuration, driver.newest.revision_of(&Key::Configuration))];
    let world = driver.world.clone();
    world.state().say(&format!("operator: {command}"));
    host.spawn(async move {
        let outcome = node.propose(Author::Operator("sim".into()), command, None, read).await;
        world.state().say(&match outcome {
            Ok(accepted) => format!("operator: revision {}", accepted.revision),
            Err(error) => format!("operator: {error}"),
        });
    });
}

/// The servers that the configuration lacks are brought in, once nothing goes wrong any more.
pub fn all_in(driver: &mut Driver) {
    for at in 0..driver.hosts.len() {
        let joined = driver.world.state().machines[at].joined;
        if joined && !is_configured(driver, at) {
            bring_in(driver, at);
        }
    }
}
