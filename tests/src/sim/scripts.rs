//! Faults that come together, so that one rule matters: a script waits for a moment, and lets happen
//! then what harms most. Between scripts come single faults of the ordinary mix.
//!
//! A script looks at what the simulation knows, but does only what could happen to real machines.

mod halves;
mod leases;
pub(super) mod stores;

use std::collections::BTreeSet;

use tasuki_core::{
    config::TieBreak,
    ids::{GroupName, RaftId},
    membership::tie_break::{Mode, Record},
    registry::{
        Command,
        state::{AfterStop, ClusterMode, Target},
    },
};

use super::{
    dice::Dice,
    driver::Driver,
    faults::{self, machine, name, networks, operate, pair, say, tell, wires},
    members,
    network::{GOOD, Quality, between},
    profile::Profile,
    world::State,
};

/// A script: how it is begun, and milliseconds until the next may begin.
type Script = fn(&mut Driver, &mut Dice) -> u64;

fn of(profile: Profile) -> &'static [Script] {
    match profile {
        Profile::Mixed => &[],
        Profile::Deposed => &[deposed],
        Profile::Unanswered => &[leases::unanswered],
        Profile::Clocks => &[leases::drift, leases::jump],
        Profile::Judged => &[judged],
        Profile::Restarts => &[restart],
        Profile::Farewells => &[farewell],
        Profile::Behind => &[halves::behind, halves::hangs, halves::black_hole],
        Profile::Late => &[late_word],
        Profile::Moves => &[moves],
        Profile::Claims => &[claim_while_it_returns],
        Profile::Record => &[record_lost],
        Profile::Members => &[leave_and_return, stores::store_lost, members::change],
        Profile::Forgets => &[stores::forgets],
        Profile::Restored => &[stores::restored],
        Profile::Fences => &[cold_start],
        Profile::Pulls => &[pull],
    }
}

/// Begins scripts of a profile, one after the other.
pub fn begin(driver: &mut Driver, mut dice: Dice, until: u64, profile: Profile) {
    if driver.now() >= until {
        return;
    }
    let others = profile.has_others();
    let pause = match dice.pick(of(profile)).copied() {
        Some(script) if !others || dice.permille(800) => script(driver, &mut dice),
        _ => {
            faults::one(driver, &mut dice);
            dice.between(100, 1500)
        }
    };
    driver.later(pause, move |driver| begin(driver, dice, until, profile));
}

/// Looks every millisecond, for so many of them, and does something once.
fn when(
    driver: &mut Driver,
    millis: u64,
    so: impl Fn(&Driver) -> bool + 'static,
    then: impl FnOnce(&mut Driver) + 'static,
) {
    if so(driver) {
        then(driver);
    } else if let Some(left) = millis.checked_sub(1) {
        driver.later(1, move |driver| when(driver, left, so, then));
    }
}

/// Who decides, as it says itself.
fn leader(driver: &Driver) -> Option<usize> {
    let leads = |at: &usize| {
        let node = driver.node(*at)?;
        node.context().leading.borrow().as_ref().map(|leading| leading.term)
    };
    (0..driver.hosts.len()).filter(|at| leads(at).is_some()).max_by_key(|at| leads(at))
}

fn other(driver: &Driver, dice: &mut Dice, than: usize) -> usize {
    let count = driver.hosts.len();
    let step = usize::try_from(dice.between(1, (count as u64 - 1).max(1))).unwrap_or(1);
    (than + step) % count
}

fn alone(at: usize, driver: &Driver) -> Vec<(usize, usize)> {
    between(&BTreeSet::from([at]), driver.hosts.len())
}

/// Changes cables until they are changed again.
fn set(driver: &mut Driver, pairs: &[(usize, usize)], change: impl Fn(&mut Quality)) {
    let nets = networks(driver);
    let mut state = driver.world.state();
    for (from, to) in pairs {
        for net in &nets {
            state.network.set(*from, *to, net, &change);
        }
    }
}

fn mend(driver: &mut Driver, pairs: &[(usize, usize)]) {
    set(driver, pairs, |quality| *quality = GOOD);
}

/// Whether the registry has a life of this server later than this one, as up.
fn is_up_anew(driver: &Driver, at: usize, before: u64) -> bool {
    let name = &driver.world.state().machines[at].name.clone();
    driver.newest.presence(name).is_some_and(|presence| presence.up && presence.incarnation.0 > before)
}

fn incarnation(driver: &Driver, at: usize) -> u64 {
    driver.world.state().machines[at].incarnation
}

fn leased(driver: &Driver, at: usize) -> bool {
    driver.world.state().machines[at].lease().is_some()
}

/// Leadership is handed over, as a server that leaves does.
fn hand_over(driver: &Driver, from: usize, to: usize) {
    let to = driver.world.state().machines[to].raft_id;
    let (Some(node), Some(host)) = (driver.node(from), &driver.hosts[from]) else { return };
    host.spawn(async move {
        let raft = node.context().raft.borrow().clone();
        if let Some(raft) = raft {
            let _ = raft.transfer_leadership(to).await; // it may not lead any more
        }
    });
}

fn power_cycle(driver: &mut Driver, at: usize, back: u64) {
    say(driver, &format!("{} loses its power for {back} ms", name(driver, at)));
    if driver.world.state().machines[at].power {
        driver.power_off(at, 0, Some(back));
    }
}

/// R3: one that has just come to lead, and has no lease of its own that would end it, is cut off. It
/// holds the others for lost; then it hears of the next leader.
fn deposed(driver: &mut Driver, dice: &mut Dice) -> u64 {
    let Some(old) = leader(driver) else { return 200 };
    let at = other(driver, dice, old);
    let before = incarnation(driver, at);
    let cables = alone(at, driver);
    let (cut, back) = (dice.between(1050, 3500), dice.between(200, 500));
    power_cycle(driver, at, back);
    set(driver, &cables, |quality| quality.mute = true);
    let mended = cables.clone();
    when(
        driver,
        3500,
        move |driver| is_up_anew(driver, at, before),
        move |driver| {
            say(driver, &format!("leadership goes to {}", name(driver, at)));
            hand_over(driver, leader(driver).unwrap_or(old), at);
            when(
                driver,
                800,
                move |driver| leader(driver) == Some(at) && !leased(driver, at),
                move |driver| {
                    say(driver, &format!("{} is cut off for {cut} ms", name(driver, at)));
                    set(driver, &cables, |quality| *quality = Quality { cut: true, ..GOOD });
                },
            );
        },
    );
    driver.later(1200 + cut, move |driver| mend(driver, &mended));
    3500 + cut + dice.between(500, 1500)
}

/// R4: a server that has just started is not heard for a whole takeover wait; it is, just when the
/// judgement is on its way and disks are slow.
fn judged(driver: &mut Driver, dice: &mut Dice) -> u64 {
    let Some(old) = leader(driver) else { return 200 };
    let at = other(driver, dice, old);
    let before = incarnation(driver, at);
    let cables = alone(at, driver);
    let wait = u64::try_from(driver.config.settings.timing.takeover_wait().as_millis()).unwrap_or(1000);
    let (slow, sync) = (wait - dice.between(20, 150), dice.between(150, 800));
    let heard = wait + dice.between(0, 120);
    let back = dice.between(200, 500);
    power_cycle(driver, at, back);
    set(driver, &cables, |quality| quality.mute = true);
    when(
        driver,
        2500,
        move |driver| is_up_anew(driver, at, before),
        move |driver| {
            driver.later(slow, move |driver| {
                say(driver, &format!("every sync takes {sync} ms"));
                driver.paces.iter().for_each(|pace| pace.set_sync(sync));
            });
            driver.later(heard, move |driver| {
                say(driver, &format!("{} is heard again", name(driver, at)));
                mend(driver, &cables);
            });
            driver.later(heard + 1500, |driver| driver.paces.iter().for_each(|pace| pace.set_sync(0)));
        },
    );
    5500 + dice.between(0, 1500)
}

/// R5: a server boots again before anybody misses it, and its calls are late while its datagrams pass.
fn restart(driver: &mut Driver, dice: &mut Dice) -> u64 {
    let at = machine(driver, dice);
    let others: Vec<_> = alone(at, driver).into_iter().filter(|(from, _)| *from == at).collect();
    let least = dice.between(150, 500);
    let most = least + dice.between(0, 900);
    say(driver, &format!("calls of {} take {least} to {most} ms more", name(driver, at)));
    set(driver, &others, move |quality| quality.stuck = (least, most));
    let back = dice.between(20, 400);
    power_cycle(driver, at, back);
    driver.later(3500, move |driver| mend(driver, &others));
    4000 + dice.between(0, 1500)
}

/// R7: a server leaves while something on it does not stop, and answers to it are late.
fn farewell(driver: &mut Driver, dice: &mut Dice) -> u64 {
    let at = machine(driver, dice);
    let runs = {
        let mut state = driver.world.state();
        state.machines[at].fail_stops = 20;
        state.machines[at].running.len()
    };
    if runs == 0 {
        driver.world.state().machines[at].fail_stops = 0;
        return 50;
    }
    let pairs: Vec<_> = alone(at, driver).into_iter().filter(|(_, to)| *to == at).collect();
    let most = dice.between(30, 250);
    say(
        driver,
        &format!("{} leaves, what runs there does not stop, answers take {most} ms", name(driver, at)),
    );
    wires(driver, pairs, 6000, move |quality| quality.delay = (most / 2, most));
    let server = driver.world.state().machines[at].name.clone();
    let by = other(driver, dice, at);
    tell(driver, by, Command::ServerLeave { server, after: AfterStop::Nothing });
    driver.later(7000, move |driver| {
        driver.world.state().machines[at].fail_stops = 0;
        faults::restart_guards(driver);
        wish_everything(driver);
    });
    8500 + dice.between(0, 1000)
}

/// An operator wants everything to run again.
fn wish_everything(driver: &mut Driver) {
    let registry = driver.newest.clone();
    let Some(at) = (0..driver.hosts.len()).find(|at| driver.node(*at).is_some()) else { return };
    if registry.cluster_mode() != ClusterMode::Running {
        tell(driver, at, Command::SetMode { mode: ClusterMode::Running });
    }
    for (group, entry) in &registry.groups {
        let failed = entry.report.as_ref().is_some_and(|report| report.value.failed.is_some());
        if failed {
            tell(driver, at, Command::ResetFailures { group: group.clone() });
        }
        if failed || entry.target.value != Target::Online {
            tell(driver, at, Command::StartGroup { group: group.clone(), on: None });
        }
    }
}

/// R13: the word of an owner is on its way for so long that it has given up waiting, has said it anew,
/// and owns the group again when the first word arrives.
fn late_word(driver: &mut Driver, dice: &mut Dice) -> u64 {
    let Some(leads) = leader(driver) else { return 200 };
    let registry = driver.newest.clone();
    let owned: Vec<(GroupName, usize)> = (registry.groups.iter())
        .filter_map(|(group, entry)| {
            let owner = driver.world.state().number(entry.ownership.value.owner.as_ref()?)?;
            (owner != leads).then(|| (group.clone(), owner))
        })
        .collect();
    let Some((group, owner)) = dice.pick(&owned).cloned() else {
        // Leadership goes where nothing runs.
        let at = other(driver, dice, leads);
        hand_over(driver, leads, at);
        return 600;
    };
    let late = dice.between(6300, 7300);
    say(
        driver,
        &format!("calls of {} to {} are stuck for {late} ms", name(driver, owner), name(driver, leads)),
    );
    let way = [(owner, leads)];
    set(driver, &way, move |quality| quality.stuck = (late, late));
    driver.later(450, move |driver| mend(driver, &way));
    let there = driver.world.state().machines[leads].name.clone();
    let home = driver.world.state().machines[owner].name.clone();
    let moved = Command::MoveGroup { group: group.clone(), to: Some(there), force: true };
    driver.later(20, move |driver| tell(driver, leads, moved));
    let moved = Command::MoveGroup { group, to: Some(home), force: true };
    driver.later(5800, move |driver| tell(driver, leads, moved));
    late + 1500 + dice.between(0, 1000)
}

/// R12, R13: operators move groups to and fro, and calls are late.
fn moves(driver: &mut Driver, dice: &mut Dice) -> u64 {
    let (one, to) = pair(driver, dice);
    let most = dice.between(10, 400);
    wires(driver, vec![(one, to), (to, one)], 1500, move |quality| quality.delay = (0, most));
    operate(driver, dice);
    dice.between(50, 500)
}

/// R16: one of two hears nothing for as long as it waits before it claims; while it asks the tie-break,
/// which the leader does not reach, it hears the leader again.
fn claim_while_it_returns(driver: &mut Driver, dice: &mut Dice) -> u64 {
    let Some(leads) = leader(driver) else { return 200 };
    let cables = alone(leads, driver);
    let (cut, delay) = (dice.between(330, 620), dice.between(80, 390));
    say(driver, &format!("cables are cut for {cut} ms, votes take {delay} ms, {leads} does not reach them"));
    {
        let mut state = driver.world.state();
        state.votes.unreachable.insert(leads, true);
        state.votes.delay = delay;
    }
    wires(driver, cables, cut, |quality| quality.cut = true);
    driver.later(2500, move |driver| {
        let mut state = driver.world.state();
        state.votes.unreachable.remove(&leads);
        state.votes.delay = 2;
    });
    3500 + dice.between(0, 1500)
}

/// R17, R24: after one of two has gone on alone, the record is gone, or another cluster's is found in
/// its place.
fn record_lost(driver: &mut Driver, dice: &mut Dice) -> u64 {
    let all = driver.hosts.len();
    let (first, cut) = (machine(driver, dice), dice.between(1300, 2000));
    let (away, gone) = (dice.between(1500, 4000), dice.permille(500));
    say(driver, &format!("cables are cut for {} ms, and {first} does not reach the votes", cut + away));
    driver.world.state().votes.unreachable.insert(first, true);
    wires(driver, between(&BTreeSet::from([0]), all), cut + away, |quality| quality.cut = true);
    driver.later(cut, move |driver| {
        let mut state = driver.world.state();
        state.votes.unreachable.remove(&first);
        let before = if gone { state.votes.record.take() } else { mistake(&mut state) };
        state.say(if gone { "FAULT the record is gone" } else { "FAULT another cluster's record is there" });
        drop(state);
        // Somebody sees the mistake, and puts it back.
        driver.later(away + 2500, move |driver| {
            driver.world.state().votes.record = before;
        });
    });
    cut + away + 5000 + dice.between(0, 1500)
}

/// Another cluster's record, in which the same stores are a pair that may claim.
fn mistake(state: &mut State) -> Option<Record> {
    let before = state.votes.mistake();
    let ids: Vec<RaftId> = state.machines.iter().map(|machine| machine.raft_id).collect();
    if let (Some(record), [a, b]) = (&mut state.votes.record, &ids[..]) {
        record.mode = Mode::Pair(*a, *b);
        record.number = record.number.saturating_sub(1);
    }
    before
}

/// R15, R20, R22: a server leaves, is cut off meanwhile, and comes back.
fn leave_and_return(driver: &mut Driver, dice: &mut Dice) -> u64 {
    let at = machine(driver, dice);
    let by = other(driver, dice, at);
    let server = driver.world.state().machines[at].name.clone();
    tell(driver, by, Command::ServerLeave { server, after: AfterStop::Nothing });
    let (begins, lasts, all) = (dice.between(0, 900), dice.between(300, 3000), driver.hosts.len());
    if dice.permille(700) {
        driver.later(begins, move |driver| {
            say(driver, &format!("{at} is cut off for {lasts} ms"));
            wires(driver, between(&BTreeSet::from([at]), all), lasts, |quality| quality.cut = true);
        });
    }
    let back = dice.between(1500, 4500);
    driver.later(back, faults::restart_guards);
    // Once more when it comes back, while it is made a voter again.
    let (begins, lasts) = (back + dice.between(50, 900), dice.between(300, 2500));
    if dice.permille(700) {
        driver.later(begins, move |driver| {
            say(driver, &format!("{at} is cut off for {lasts} ms"));
            wires(driver, between(&BTreeSet::from([at]), all), lasts, |quality| quality.cut = true);
        });
    }
    begins + lasts + dice.between(500, 2500)
}

/// R19: one of two is fenced off; the other goes on and loses its power; the first boots alone.
fn cold_start(driver: &mut Driver, dice: &mut Dice) -> u64 {
    let (first, second) = pair(driver, dice);
    let all = driver.hosts.len();
    let on = dice.between(2500, 4000);
    if dice.permille(500) {
        power_cycle(driver, first, on);
    } else {
        let cut = dice.between(600, 2500);
        say(driver, &format!("cables are cut for {cut} ms"));
        wires(driver, between(&BTreeSet::from([0]), all), cut, |quality| quality.cut = true);
    }
    let (off, dark) = (on - dice.between(0, 800), dice.between(2500, 5000));
    driver.later(off, move |driver| power_cycle(driver, second, dark));
    off + dark + dice.between(2500, 4500)
}

/// With the unsafe echo as tie-break only what it can tell: a machine dies, or its own cable is pulled,
/// which takes the gateway from it too. What it cannot tell, it is not asked here.
fn pull(driver: &mut Driver, dice: &mut Dice) -> u64 {
    let at = machine(driver, dice);
    if dice.permille(400) {
        let back = dice.between(1500, 4000);
        power_cycle(driver, at, back);
        return back + 5000;
    }
    if dice.permille(300) {
        say(driver, &format!("the node of {} is killed", name(driver, at)));
        driver.kill_node(at);
        return dice.between(1500, 3000);
    }
    let millis = dice.between(300, 3500);
    say(driver, &format!("the cable of {} is pulled for {millis} ms", name(driver, at)));
    driver.world.state().machines[at].no_echo = true;
    let pairs = alone(at, driver);
    wires(driver, pairs, millis, |quality| quality.cut = true);
    // The gateway is the last to be seen again: a switch learns the own cluster first.
    driver.later(millis + 1500, move |driver| driver.world.state().machines[at].no_echo = false);
    millis + 4500 + dice.between(0, 1500)
}

/// Whether scripts that end a majority for long would leave two servers without a tie-break stuck.
#[must_use]
pub fn fits(profile: Profile, servers: usize, tie_break: &TieBreak) -> bool {
    let record = matches!(tie_break, TieBreak::Witness { .. } | TieBreak::VotingFiles);
    match profile {
        Profile::Claims | Profile::Record => servers == 2 && record,
        Profile::Fences => servers == 2 && *tie_break == TieBreak::Fence,
        Profile::Pulls => servers == 2 && matches!(tie_break, TieBreak::UnsafePing { .. }),
        Profile::Deposed | Profile::Unanswered | Profile::Clocks | Profile::Judged | Profile::Late => {
            servers > 2
        }
        Profile::Members => servers > 2 || record,
        Profile::Forgets => servers == 3,
        Profile::Restored => servers == 2 && record,
        _ => !matches!(tie_break, TieBreak::UnsafePing { .. }),
    }
}
