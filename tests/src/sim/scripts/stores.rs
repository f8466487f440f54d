//! Stores that are lost, forget what they acknowledged, or go back (R17, R23).

use std::collections::BTreeSet;

use tasuki_actors::handle::RegistryError;
use tasuki_core::{
    ids::{Lineage, RaftId},
    membership::tie_break::Mode,
    registry::{Author, Command},
    time::WallTime,
};

use super::{
    super::{
        dice::Dice,
        driver::Driver,
        faults::{machine, name, pair, say, tell},
        members,
        network::between,
    },
    alone, leader, mend, other, power_cycle, set, when,
};

/// Every store has a vote: what one of them loses the others have.
pub fn is_whole(driver: &Driver) -> bool {
    let Some(node) = leader(driver).and_then(|at| driver.node(at)) else { return false };
    let raft = node.context().raft.borrow().clone();
    let Some(own) = raft.and_then(|raft| raft.own_log(Lineage::new("sim"))) else { return false };
    let state = driver.world.state();
    let all = state.machines.iter().all(|machine| machine.power && machine.joined);
    let ids: BTreeSet<RaftId> = state.machines.iter().map(|machine| machine.raft_id).collect();
    let sole = matches!(&state.votes.record, Some(record) if matches!(record.mode, Mode::Sole(_)));
    drop(state);
    let runs = (0..driver.hosts.len()).all(|at| driver.node(at).is_some());
    all && runs && !sole && own.configs == [ids]
}

/// R23: a server loses its store with its power, and joins anew as another store.
pub fn store_lost(driver: &mut Driver, dice: &mut Dice) -> u64 {
    let at = machine(driver, dice);
    if !is_whole(driver) {
        return 300;
    }
    say(driver, &format!("{} loses its power and its store", name(driver, at)));
    driver.power_off(at, 0, None);
    driver.lose_store(at);
    driver.later(dice.between(500, 4000), move |driver| join_anew(driver, at));
    9000
}

/// An operator waits so long for what came of a joining: two proposals, each with its own patience.
const JOINING: u64 = 11_000_000_000;

/// An operator lets a server join again whose store was lost, until it has. One joining at a time: a
/// second one would make the first one's store a stranger.
pub fn join_anew(driver: &mut Driver, at: usize) {
    let (joined, server, now) = {
        let state = driver.world.state();
        (state.machines[at].joined, state.machines[at].name.clone(), state.now)
    };
    if joined {
        if driver.hosts[at].is_none() {
            // It may have been switched on meanwhile, and its guard have found nothing to start.
            driver.power_off(at, usize::MAX, None);
        }
        driver.boot(at);
        return;
    }
    driver.later(700, move |driver| join_anew(driver, at));
    if !members::is_configured(driver, at) {
        return members::configure(driver, at);
    }
    if driver.world.state().machines[at].joining > now {
        return;
    }
    let id = format!("anew-{now}");
    let Some(by) = (0..driver.hosts.len()).find(|by| *by != at && driver.node(*by).is_some()) else { return };
    let (Some(node), Some(host)) = (driver.node(by), &driver.hosts[by]) else { return };
    {
        let mut state = driver.world.state();
        state.say(&format!("operator: {server} joins anew"));
        state.machines[at].joining = now + JOINING;
    }
    let world = driver.world.clone();
    host.spawn(async move {
        let author = || Author::Operator("sim".into());
        let digest = String::from("digest");
        let issue = Command::IssueToken {
            id: id.clone(),
            digest: digest.clone(),
            server: None,
            expires: WallTime(u64::MAX),
        };
        let join = Command::Join { token: id, digest, server };
        if node.propose(author(), issue, None, Vec::new()).await.is_err() {
            world.state().machines[at].joining = 0;
            return;
        }
        let accepted = node.propose(author(), join, None, Vec::new()).await;
        let mut state = world.state();
        let machine = &mut state.machines[at];
        if matches!(accepted, Ok(_) | Err(RegistryError::Refused(_) | RegistryError::NoQuorum(_))) {
            machine.joining = 0;
        }
        if let Ok(accepted) = accepted
            && let Some(raft_id) = accepted.raft_id
            && !machine.joined
        {
            (machine.raft_id, machine.joined) = (raft_id, true);
            state.say(&format!("operator: it is store {raft_id}"));
        }
    });
}

/// R23: what a follower has acknowledged is on its disk. The third server is cut off; then the follower
/// loses its power while its disk is slow, the leader is cut off, and the third comes back: together they
/// have to have all that was committed.
pub fn forgets(driver: &mut Driver, dice: &mut Dice) -> u64 {
    let Some(leads) = leader(driver).filter(|_| is_whole(driver)) else { return 300 };
    let follows = other(driver, dice, leads);
    let Some(third) = (0..driver.hosts.len()).find(|at| *at != leads && *at != follows) else { return 300 };
    let (sync, behind, back) = (dice.between(500, 1000), dice.between(500, 1500), dice.between(20, 120));
    let soon = dice.between(30, sync / 2);
    say(driver, &format!("{third} is cut off, and a sync takes {sync} ms on {follows}"));
    let cables = alone(third, driver);
    set(driver, &cables, |quality| quality.cut = true);
    driver.later(behind, move |driver| {
        driver.paces[follows].set_sync(sync);
        let id = format!("forget-{}", driver.now());
        let expires = WallTime(u64::MAX);
        tell(driver, leads, Command::IssueToken { id, digest: String::new(), server: None, expires });
        driver.later(soon, move |driver| {
            power_cycle(driver, follows, back);
            driver.paces[follows].set_sync(0);
            say(driver, &format!("{leads} is cut off instead"));
            mend(driver, &cables);
            let cables = alone(leads, driver);
            set(driver, &cables, |quality| quality.cut = true);
            driver.later(2500, move |driver| mend(driver, &cables));
        });
    });
    behind + soon + 5000 + dice.between(0, 1000)
}

/// R17, R23: a whole machine is put back to a copy that is older than the last change of the record, and
/// starts alone; the other one does not reach the record. An operator sees it, and lets it join anew.
pub fn restored(driver: &mut Driver, dice: &mut Dice) -> u64 {
    let Some(before) = pair_number(driver).filter(|_| is_whole(driver)) else { return 300 };
    let (at, by) = pair(driver, dice);
    let all = driver.hosts.len();
    let cables = between(&BTreeSet::from([at]), all);
    let copy = driver.world.state().machines[at].disk.copied();
    let cut = dice.between(2000, 3500);
    say(
        driver,
        &format!("{at} is copied; then cables are cut for {cut} ms, and {at} does not reach the votes"),
    );
    driver.world.state().votes.unreachable.insert(at, true);
    set(driver, &cables, |quality| quality.cut = true);
    let mended = cables.clone();
    driver.later(cut, move |driver| {
        mend(driver, &mended);
        driver.world.state().votes.unreachable.remove(&at);
    });
    let alone = dice.between(2500, 5000);
    driver.later(cut, move |driver| {
        let newer = move |driver: &Driver| {
            pair_number(driver).is_some_and(|number| number > before) && is_whole(driver)
        };
        when(driver, 8000, newer, move |driver| {
            say(driver, &format!("{at} is put back to its copy, and {by} does not reach the votes"));
            set(driver, &cables, |quality| quality.cut = true);
            driver.power_off(at, 0, Some(200));
            {
                let mut state = driver.world.state();
                state.votes.unreachable.insert(by, true);
                (state.machines[at].disk, state.machines[at].restored) = (copy, true);
            }
            driver.later(alone, move |driver| {
                say(driver, &format!("somebody has seen that {at} was put back"));
                give_up_copy(driver, at);
                driver.world.state().votes.unreachable.remove(&by);
                mend(driver, &cables);
            });
        });
    });
    cut + 8000 + alone + 6000 + dice.between(0, 1000)
}

/// A machine that was put back joins anew, with an empty store.
pub fn give_up_copy(driver: &mut Driver, at: usize) {
    driver.power_off(at, 0, None);
    driver.lose_store(at);
    driver.world.state().machines[at].restored = false;
    driver.later(700, move |driver| join_anew(driver, at));
}

/// The number of the record, while both may claim by it.
fn pair_number(driver: &Driver) -> Option<u64> {
    let state = driver.world.state();
    let record = state.votes.record.as_ref().filter(|record| matches!(record.mode, Mode::Pair(..)));
    record.map(|record| record.number)
}
