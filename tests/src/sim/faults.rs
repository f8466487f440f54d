//! What goes wrong, and when: all from the seed. Several things may be wrong at once.

use std::collections::BTreeSet;

use tasuki_core::{
    config::HeartbeatPath,
    ids::{GroupName, NetworkName},
    registry::{
        Author, Command,
        state::{AfterStop, ClusterMode},
    },
};

use super::{
    aside::Hangs,
    dice::Dice,
    driver::Driver,
    machine::Freeze,
    members,
    network::{GOOD, Quality, between},
};

/// The largest error of a clock's rate that faults make, in millionths.
const RATE: u64 = 60_000;

/// A kind of fault, and how often it comes.
type Kind = (u64, fn(&mut Driver, &mut Dice));

const KINDS: [Kind; 20] = [
    (12, crash_node),
    (8, lose_power),
    (10, part),
    (8, one_way),
    (8, cut_pair),
    (5, flap),
    (4, cut_network),
    (6, delay),
    (6, lose),
    (6, rate),
    (14, freeze),
    (6, slow_disk),
    (2, full_disk),
    (12, operate),
    (5, service_dies),
    (4, slow_agent),
    (6, spoil_votes),
    (4, spoil_aside),
    (3, black_hole),
    (3, change_members),
];

/// Lets one thing go wrong now, and plans the next.
pub fn begin(driver: &mut Driver, mut dice: Dice, until: u64) {
    if driver.now() >= until {
        return;
    }
    one(driver, &mut dice);
    // Mostly one after the other, sometimes close together.
    let pause = if dice.permille(250) { dice.between(1, 150) } else { dice.between(150, 2600) };
    driver.later(pause, move |driver| begin(driver, dice, until));
}

/// Lets one thing go wrong now.
pub fn one(driver: &mut Driver, dice: &mut Dice) {
    let whole: u64 = KINDS.iter().map(|(weight, _)| weight).sum();
    let mut at = dice.below(whole);
    for (weight, fault) in KINDS {
        if at < weight {
            fault(driver, dice);
            break;
        }
        at -= weight;
    }
}

pub(super) fn machine(driver: &Driver, dice: &mut Dice) -> usize {
    usize::try_from(dice.below(driver.hosts.len() as u64)).unwrap_or(0)
}

pub(super) fn pair(driver: &Driver, dice: &mut Dice) -> (usize, usize) {
    let one = machine(driver, dice);
    let others = driver.hosts.len() - 1;
    let step = 1 + usize::try_from(dice.below(others.max(1) as u64)).unwrap_or(0);
    (one, (one + step) % driver.hosts.len())
}

fn span(dice: &mut Dice) -> u64 {
    match dice.below(4) {
        0 => dice.between(20, 300),
        1 => dice.between(300, 1200),
        2 => dice.between(1200, 4000),
        _ => dice.between(4000, 9000),
    }
}

pub(super) fn networks(driver: &Driver) -> Vec<NetworkName> {
    driver.world.state().network.networks.clone()
}

/// Changes wires over all networks, and back after a while.
pub(super) fn wires(
    driver: &mut Driver,
    pairs: Vec<(usize, usize)>,
    millis: u64,
    change: impl Fn(&mut Quality),
) {
    let nets = networks(driver);
    {
        let mut state = driver.world.state();
        for (from, to) in &pairs {
            for net in &nets {
                state.network.set(*from, *to, net, &change);
            }
        }
    }
    driver.later(millis, move |driver| {
        let mut state = driver.world.state();
        state.say("    those cables are mended");
        for (from, to) in &pairs {
            for net in &nets {
                state.network.set(*from, *to, net, |quality| *quality = GOOD);
            }
        }
    });
}

pub(super) fn say(driver: &Driver, line: &str) {
    driver.world.state().say(&format!("FAULT {line}"));
}

pub(super) fn name(driver: &Driver, at: usize) -> String {
    driver.world.state().machines[at].name.to_string()
}

fn crash_node(driver: &mut Driver, dice: &mut Dice) {
    let at = machine(driver, dice);
    say(driver, &format!("the node of {} is killed", name(driver, at)));
    driver.kill_node(at);
}

fn lose_power(driver: &mut Driver, dice: &mut Dice) {
    let at = machine(driver, dice);
    let (survive, back) = (usize::try_from(dice.below(4)).unwrap_or(0), 200 + span(dice));
    say(driver, &format!("{} loses its power for {back} ms", name(driver, at)));
    if driver.world.state().machines[at].power {
        driver.power_off(at, survive, Some(back));
    }
    // Sometimes the whole rack.
    if dice.permille(120) {
        say(driver, "and so do all others");
        for at in 0..driver.hosts.len() {
            if driver.world.state().machines[at].power {
                let back = 200 + span(dice);
                driver.power_off(at, survive, Some(back));
            }
        }
    }
}

fn part(driver: &mut Driver, dice: &mut Dice) {
    let all = driver.hosts.len();
    let side: BTreeSet<usize> = (0..all).filter(|_| dice.permille(500)).collect();
    let millis = span(dice);
    say(driver, &format!("{side:?} are cut off from the others for {millis} ms"));
    wires(driver, between(&side, all), millis, |quality| quality.cut = true);
}

fn one_way(driver: &mut Driver, dice: &mut Dice) {
    let (from, to) = pair(driver, dice);
    let millis = span(dice);
    let mut pairs = vec![(from, to)];
    if dice.permille(400) {
        // Deaf or dumb to everybody.
        let dumb = dice.permille(500);
        let others = (0..driver.hosts.len()).filter(|other| *other != from);
        pairs = others.map(|other| if dumb { (from, other) } else { (other, from) }).collect();
    }
    say(driver, &format!("nothing passes in the directions {pairs:?} for {millis} ms"));
    wires(driver, pairs, millis, |quality| quality.cut = true);
}

fn cut_pair(driver: &mut Driver, dice: &mut Dice) {
    let (one, other) = pair(driver, dice);
    let millis = span(dice);
    say(driver, &format!("the cable between {one} and {other} is cut for {millis} ms"));
    wires(driver, vec![(one, other), (other, one)], millis, |quality| quality.cut = true);
}

fn flap(driver: &mut Driver, dice: &mut Dice) {
    let all = driver.hosts.len();
    let side = BTreeSet::from([machine(driver, dice)]);
    let times = dice.between(3, 15);
    say(driver, &format!("the cables of {side:?} flap {times} times"));
    let mut at = 0;
    for _ in 0..times {
        let (cut, pause) = (dice.between(20, 500), dice.between(20, 500));
        let side = side.clone();
        driver.later(at, move |driver| {
            wires(driver, between(&side, all), cut, |quality| quality.cut = true);
        });
        at += cut + pause;
    }
}

fn cut_network(driver: &mut Driver, dice: &mut Dice) {
    let nets = networks(driver);
    let Some(net) = dice.pick(&nets).cloned() else { return };
    let (all, millis) = (driver.hosts.len(), span(dice));
    say(driver, &format!("network {net} is down for {millis} ms"));
    let set = move |driver: &mut Driver, cut: bool| {
        let mut state = driver.world.state();
        for from in 0..all {
            for to in 0..all {
                state.network.set(from, to, &net, |quality| quality.cut = cut);
            }
        }
    };
    set(driver, true);
    driver.later(millis, move |driver| set(driver, false));
}

fn delay(driver: &mut Driver, dice: &mut Dice) {
    let (one, other) = pair(driver, dice);
    let least = dice.between(1, 300);
    let most = least + dice.between(0, 300);
    let millis = span(dice);
    let mut pairs = vec![(one, other)];
    if dice.permille(600) {
        pairs.push((other, one));
    }
    say(driver, &format!("{pairs:?} take {least} to {most} ms, for {millis} ms"));
    wires(driver, pairs, millis, move |quality| quality.delay = (least, most));
}

fn lose(driver: &mut Driver, dice: &mut Dice) {
    let all = driver.hosts.len();
    let (loss, twice, millis) = (dice.between(10, 600), dice.between(0, 300), span(dice));
    let side = BTreeSet::from([machine(driver, dice)]);
    say(driver, &format!("cables of {side:?} lose {loss} and double {twice} of 1000, for {millis} ms"));
    wires(driver, between(&side, all), millis, move |quality| {
        quality.loss = loss;
        quality.twice = twice;
        quality.delay = (0, 20); // out of order, too
    });
}

fn rate(driver: &mut Driver, dice: &mut Dice) {
    let at = machine(driver, dice);
    let off = match dice.below(4) {
        0 => 0,
        1 => 2 * RATE,
        _ => dice.below(2 * RATE),
    };
    let rate = i64::try_from(off).unwrap_or(0) - i64::try_from(RATE).unwrap_or(0);
    say(driver, &format!("the clock of {} is off by {rate} millionths", name(driver, at)));
    driver.world.state().machines[at].rate = rate;
}

fn freeze(driver: &mut Driver, dice: &mut Dice) {
    let at = machine(driver, dice);
    let how = match dice.below(5) {
        0 | 1 => Freeze::Node,
        2 | 3 => Freeze::Machine,
        _ => Freeze::Clock,
    };
    let millis = match dice.below(3) {
        0 => dice.between(20, 700),
        1 => dice.between(700, 1500),
        _ => dice.between(1500, 5000),
    };
    say(driver, &format!("{} is frozen", name(driver, at)));
    driver.freeze(at, how, millis);
}

fn slow_disk(driver: &mut Driver, dice: &mut Dice) {
    let at = machine(driver, dice);
    let (sync, millis) = (dice.between(5, 900), span(dice));
    say(driver, &format!("a sync takes {sync} ms on {}, for {millis} ms", name(driver, at)));
    driver.paces[at].set_sync(sync);
    driver.later(millis, move |driver| driver.paces[at].set_sync(0));
}

fn full_disk(driver: &mut Driver, dice: &mut Dice) {
    let at = machine(driver, dice);
    let millis = span(dice);
    say(driver, &format!("the disk of {} is full for {millis} ms", name(driver, at)));
    driver.paces[at].set_full(true);
    driver.later(millis, move |driver| driver.paces[at].set_full(false));
}

fn service_dies(driver: &mut Driver, dice: &mut Dice) {
    let at = machine(driver, dice);
    let mut state = driver.world.state();
    let runs: Vec<_> = state.machines[at].running.keys().cloned().collect();
    if dice.permille(300) {
        state.machines[at].fail_starts = 1;
    }
    if let Some(which) = dice.pick(&runs).cloned() {
        state.say(&format!("FAULT {}/{} dies", which.0, which.1));
        state.kill_service(at, &which);
    }
}

fn slow_agent(driver: &mut Driver, dice: &mut Dice) {
    let at = machine(driver, dice);
    let (pace, millis) = (dice.between(50, 1500), span(dice));
    say(driver, &format!("starts and stops take up to {pace} ms on {}", name(driver, at)));
    driver.world.state().machines[at].agent_pace = pace;
    driver.later(millis, move |driver| driver.world.state().machines[at].agent_pace = 40);
}

fn spoil_votes(driver: &mut Driver, dice: &mut Dice) {
    let at = machine(driver, dice);
    let (unreachable, delay, unclear, torn) =
        (dice.permille(300), dice.between(2, 600), dice.between(0, 500), dice.between(0, 700));
    let millis = span(dice);
    say(driver, &format!("votes answer within {delay} ms, {unclear} of 1000 unclear, for {millis} ms"));
    {
        let mut state = driver.world.state();
        state.votes.unreachable.insert(at, unreachable);
        state.votes.delay = delay;
        state.votes.unclear = unclear;
        state.votes.torn = torn;
    }
    driver.later(millis, move |driver| {
        let mut state = driver.world.state();
        state.votes.unreachable.remove(&at);
        (state.votes.delay, state.votes.unclear, state.votes.torn) = (2, 0, 0);
    });
}

/// The paths beside the networks: garbage or one direction only on the lines, torn blocks and operations
/// that hang on the disks.
fn spoil_aside(driver: &mut Driver, dice: &mut Dice) {
    let (from, to) = pair(driver, dice);
    let paths: Vec<NetworkName> = driver.config.settings.heartbeats.iter().map(HeartbeatPath::name).collect();
    let lines: Vec<NetworkName> =
        paths.into_iter().filter(|path| path.as_str().starts_with("com:")).collect();
    let (garbage, torn, millis) = (dice.between(0, 600), dice.between(0, 700), span(dice));
    let (cut, hangs) = (dice.permille(400), dice.permille(500));
    let hang = if dice.permille(500) { Hangs::Writes } else { Hangs::Reads };
    say(driver, &format!("lines and disks of {from} are spoilt for {millis} ms"));
    {
        let mut state = driver.world.state();
        for line in &lines {
            state.network.aside.garbage.insert((from, to, line.clone()), garbage);
            state.network.set(from, to, line, |quality| quality.cut = cut);
        }
        state.network.aside.torn = torn;
        if hangs {
            state.network.aside.hangs.insert(from, hang);
        }
    }
    driver.later(millis, move |driver| {
        let mut state = driver.world.state();
        for line in &lines {
            state.network.aside.garbage.remove(&(from, to, line.clone()));
            state.network.set(from, to, line, |quality| *quality = GOOD);
        }
        state.network.aside.torn = 0;
        state.network.aside.hangs.remove(&from);
    });
}

/// What is long does not pass, one way or both.
fn black_hole(driver: &mut Driver, dice: &mut Dice) {
    let (from, to) = pair(driver, dice);
    let (most, millis) = (usize::try_from(dice.between(60, 1400)).unwrap_or(60), span(dice));
    let mut pairs = vec![(from, to)];
    if dice.permille(500) {
        pairs.push((to, from));
    }
    say(driver, &format!("nothing longer than {most} bytes passes {pairs:?}, for {millis} ms"));
    wires(driver, pairs, millis, move |quality| quality.most = most);
}

fn change_members(driver: &mut Driver, dice: &mut Dice) {
    members::change(driver, dice);
}

/// An operator does something.
pub(super) fn operate(driver: &mut Driver, dice: &mut Dice) {
    let groups: Vec<GroupName> = driver.config.groups.keys().cloned().collect();
    let Some(group) = dice.pick(&groups).cloned() else { return };
    let at = machine(driver, dice);
    let server = driver.world.state().machines[machine(driver, dice)].name.clone();
    let command = match dice.below(20) {
        0..=8 => Command::MoveGroup { group, to: dice.permille(500).then_some(server), force: true },
        9 | 10 => Command::StopGroup { group, force: true },
        11..=14 => Command::StartGroup { group, on: None },
        15 => Command::SetMode { mode: ClusterMode::Suspended },
        16 | 17 => Command::SetMode { mode: ClusterMode::Running },
        _ => {
            // What systemd would do: the guard starts again after a while.
            let millis = 1500 + span(dice);
            driver.later(millis, restart_guards);
            Command::ServerLeave { server, after: AfterStop::Nothing }
        }
    };
    tell(driver, at, command);
}

/// Starts Tasuki wherever a machine is on and it is not running.
pub fn restart_guards(driver: &mut Driver) {
    let timing = &driver.config.settings.timing;
    let mut state = driver.world.state();
    for at in 0..state.machines.len() {
        state.start_guard(at, timing);
    }
}

/// An operator's command, by way of one server.
pub fn tell(driver: &mut Driver, at: usize, command: Command) {
    driver.world.state().say(&format!("operator: {command}"));
    let Some(node) = driver.node(at) else { return };
    let world = driver.world.clone();
    if let Some(host) = &driver.hosts[at] {
        host.spawn(async move {
            let author = Author::Operator("sim".into());
            let outcome = node.propose(author, command, None, Vec::new()).await;
            world.state().say(&match outcome {
                Ok(accepted) => format!("operator: revision {}", accepted.revision),
                Err(error) => format!("operator: {error}"),
            });
        });
    }
}
