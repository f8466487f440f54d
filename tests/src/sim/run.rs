//! One run of the simulation, from its seed.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tasuki_actors::handle::RegistryError;
use tasuki_core::{
    config::{ClusterConfig, FenceConfig, FenceKind, Role, ServerConfig, TieBreak},
    ids::{Revision, ServerName},
    registry::{
        Author, Command, Key, State as Registry,
        state::{ClusterMode, GroupState, Target},
    },
    time::WallTime,
};

use super::{
    aside,
    client::{self, Kind, Op, Outcome},
    dice::Dice,
    driver::Driver,
    fact::What,
    faults, members,
    profile::Profile,
    scripts::stores,
};
use crate::{invariants::Violation, twin};

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Options {
    /// Everything follows from it.
    pub seed: u64,
    /// How many servers; from the seed when there is none.
    pub servers: Option<usize>,
    /// What breaks a tie of two.
    pub tie_break: TieBreak,
    /// What it is about: see [`super::profile`]; `any` for what the seed chooses.
    pub profile: String,
    /// Milliseconds in which things go wrong.
    pub faults: u64,
    /// Prints every line of the trace.
    pub aloud: bool,
    /// A rule that is taken out: see `tasuki_core::planted`, and [`OUTSIDE`].
    pub planted: Option<String>,
}

/// Rules that are taken out of what is simulated around the nodes, not of the nodes.
pub const OUTSIDE: [&str; 3] = ["R10", "R23", "R38"];

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was broken.
    pub violation: Option<Violation>,
    /// Stands for everything that happened.
    pub hash: u64,
    /// Lines of the trace.
    pub lines: u64,
    /// Simulated milliseconds.
    pub millis: u64,
    /// Revisions of the registry.
    pub revisions: u64,
    /// The last lines.
    pub tail: Vec<String>,
}

/// After the faults have ended, everything that can run runs within so many milliseconds.
const BOUND: u64 = 40_000;
/// So long a cluster may take to form.
const FORMING: u64 = 30_000;

/// What panicked, in any task of this process.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// From here on a panic of any task is a violation.
pub fn watch_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.lock().unwrap_or_else(PoisonError::into_inner).push(info.to_string());
        before(info);
    }));
}

/// Runs one seed.
#[must_use]
pub fn run(options: &Options) -> Report {
    let mut dice = Dice::new(options.seed);
    let servers = options.servers.unwrap_or(if dice.permille(700) { 3 } else { 5 });
    let mut config = configuration(servers, &options.tie_break);
    let profile = Profile::named(&options.profile, options.seed, servers, &options.tie_break);
    // The other scripts cut networks only, and want a server silent by that.
    if matches!(profile, None | Some(Profile::Mixed | Profile::Members)) {
        aside::add(&mut config, options.seed);
    }
    let mut driver = Driver::new(options.seed, config, options.aloud);
    for pace in &driver.paces {
        pace.set_lies(options.planted.as_deref() == Some("R23"));
    }
    {
        let mut state = driver.world.state();
        state.votes.fences = options.tie_break == TieBreak::Fence;
        state.slow_guards = options.planted.as_deref() == Some("R10");
        state.blind_guards = options.planted.as_deref() == Some("R38");
    }
    play(&mut driver, &mut dice, options, profile.unwrap_or(Profile::Mixed));
    let state = driver.world.state();
    Report {
        violation: driver.violation.clone(),
        hash: state.trace.hash(),
        lines: state.trace.lines(),
        millis: state.now / 1_000_000,
        revisions: driver.newest.revision.0,
        tail: state.trace.tail(),
    }
}

fn configuration(servers: usize, tie_break: &TieBreak) -> ClusterConfig {
    let mut config = twin::config(servers, Duration::from_secs(1));
    config.settings.votes.tie_break = tie_break.clone();
    match tie_break {
        TieBreak::None | TieBreak::UnsafePing { .. } => {}
        TieBreak::VotingFiles => config.settings.votes.files = vec!["/votes/1".into()],
        TieBreak::Witness { witness } => {
            config.servers.insert(witness.clone(), keeper());
        }
        TieBreak::Fence => {
            for (name, server) in &mut config.servers {
                let device = format!("power-of-{name}");
                config.settings.fences.insert(device.as_str().into(), device_of());
                server.fencing = vec![vec![device.as_str().into()]];
            }
        }
    }
    let web = config.groups.values().next().cloned().unwrap_or_default();
    let mut back = web.clone();
    back.servers.reverse();
    config.groups.insert("data".into(), back);
    config
}

/// The witness that keeps the record of two: none of the machines.
fn keeper() -> ServerConfig {
    ServerConfig {
        number: 100,
        comment: String::new(),
        addresses: BTreeMap::from([("public".into(), [127, 9, 2, 100].into())]),
        role: Role::Register { port: 4 },
        domain: None,
        fencing: Vec::new(),
    }
}

fn device_of() -> FenceConfig {
    FenceConfig {
        comment: String::new(),
        kind: FenceKind::Script { program: "/bin/true".into() },
        ports: BTreeMap::new(),
        timeout: Duration::from_secs(2),
        retries: 0,
        delay: Duration::from_millis(500),
    }
}

fn play(driver: &mut Driver, dice: &mut Dice, options: &Options, profile: Profile) {
    driver.world.state().say(&format!("a run of the profile {profile:?}"));
    if !form(driver) {
        fail(driver, "the cluster does not form");
        return;
    }
    let until = driver.now() + options.faults * 1_000_000;
    clients(driver, dice.fork(), until);
    let first = dice.between(1, 1500);
    let chance = dice.fork();
    if profile == Profile::Mixed {
        driver.later(first, move |driver| faults::begin(driver, chance, until));
    } else {
        deciders(driver, dice.fork(), until);
        driver.later(first, move |driver| super::scripts::begin(driver, chance, until, profile));
    }
    while driver.now() < until {
        if !driver.step() || panicked(driver) {
            return;
        }
    }
    heal(driver);
    let mut missing = String::new();
    let settled = driver.until(BOUND, |driver| {
        if driver.now() / 1_000_000 % 50 != 0 {
            return false;
        }
        match unsettled(driver) {
            Some(what) => {
                missing = what;
                false
            }
            None => true,
        }
    });
    if panicked(driver) || driver.violation.is_some() {
        return;
    }
    let outcome = if settled { Ok(()) } else { Err(format!("{BOUND} ms after the faults: {missing}")) };
    driver.world.state().happened(0, What::Settled(outcome));
    last_read(driver);
    for _ in 0..1000 {
        if !driver.step() || panicked(driver) {
            return;
        }
    }
}

fn fail(driver: &mut Driver, why: &str) {
    driver.world.state().happened(0, What::Settled(Err(why.into())));
    driver.step();
}

fn panicked(driver: &mut Driver) -> bool {
    let panics = std::mem::take(&mut *PANICS.lock().unwrap_or_else(PoisonError::into_inner));
    for panic in &panics {
        driver.world.state().happened(0, What::Panicked(panic.clone()));
    }
    if !panics.is_empty() {
        driver.step();
    }
    !panics.is_empty()
}

/// Founds the cluster, and lets everybody join in order of their numbers.
fn form(driver: &mut Driver) -> bool {
    let servers = driver.hosts.len();
    driver.world.state().machines[0].joined = true;
    driver.boot(0);
    if !driver.until(FORMING, |driver| driver.newest.lineage.is_some()) {
        return false;
    }
    for at in 1..servers {
        let server = driver.world.state().machines[at].name.clone();
        if !joins(driver, &server) {
            return false;
        }
        driver.world.state().machines[at].joined = true;
        driver.boot(at);
    }
    driver.until(FORMING, |driver| unsettled(driver).is_none())
}

fn joins(driver: &mut Driver, server: &ServerName) -> bool {
    let (id, digest) = (server.to_string(), "digest".to_owned());
    let expires = WallTime(u64::MAX);
    let issue = Command::IssueToken { id: id.clone(), digest: digest.clone(), server: None, expires };
    faults::tell(driver, 0, issue);
    let token = id.clone();
    if !driver.until(FORMING, move |driver| driver.newest.tokens.contains_key(&token)) {
        return false;
    }
    faults::tell(driver, 0, Command::Join { token: id, digest, server: server.clone() });
    let server = server.clone();
    driver.until(FORMING, move |driver| driver.newest.presence(&server).is_some())
}

/// Everything is in order again, and an operator wants everything to run.
fn heal(driver: &mut Driver) {
    driver.forget_deeds();
    driver.quiet = None;
    {
        let mut state = driver.world.state();
        state.say("HEALED: no faults from here on");
        state.network.heal();
        state.votes.unreachable.clear();
        (state.votes.delay, state.votes.unclear, state.votes.torn) = (2, 0, 0);
        for machine in &mut state.machines {
            machine.rate = 0;
            (machine.fail_starts, machine.fail_stops, machine.no_echo) = (0, 0, false);
            machine.agent_pace = 40;
            machine.whole_budget = false;
        }
        state.happened(0, What::Healed);
    }
    for at in 0..driver.hosts.len() {
        driver.thaw(at);
        driver.paces[at].set_sync(0);
        driver.paces[at].set_full(false);
        let (joined, restored) = {
            let machine = &driver.world.state().machines[at];
            (machine.joined, machine.restored)
        };
        if restored {
            stores::give_up_copy(driver, at);
        } else if joined {
            driver.boot(at);
        } else {
            stores::join_anew(driver, at);
        }
    }
    mend(driver);
}

/// Repeated, because a server may still be leaving, or the one that was asked may not answer.
fn mend(driver: &mut Driver) {
    members::all_in(driver);
    faults::restart_guards(driver);
    let registry = driver.newest.clone();
    let asked = (0..driver.hosts.len()).find(|at| driver.node(*at).is_some());
    if let Some(at) = asked {
        if registry.cluster_mode() != ClusterMode::Running {
            faults::tell(driver, at, Command::SetMode { mode: ClusterMode::Running });
        }
        for (name, entry) in &registry.groups {
            let failed = entry.report.as_ref().is_some_and(|report| report.value.failed.is_some());
            if failed {
                faults::tell(driver, at, Command::ResetFailures { group: name.clone() });
            }
            if entry.target.value != Target::Online || failed {
                faults::tell(driver, at, Command::StartGroup { group: name.clone(), on: None });
            }
        }
    }
    driver.later(2000, mend);
}

/// What does not run and should.
fn unsettled(driver: &mut Driver) -> Option<String> {
    let registry = driver.newest.clone();
    if registry.revision.0 == 0 {
        return Some("there is no registry".into());
    }
    for at in 0..driver.hosts.len() {
        let name = driver.world.state().machines[at].name.clone();
        if !registry.presence(&name).is_some_and(|presence| presence.up) {
            return Some(format!("{name} is not up"));
        }
        let Some(node) = driver.node(at) else { return Some(format!("{name} has no node")) };
        if node.state().revision != registry.revision {
            return Some(format!("{name} is behind"));
        }
    }
    let state = driver.world.state();
    for (group, entry) in &registry.groups {
        let ownership = &entry.ownership.value;
        let Some(owner) = &ownership.owner else { return Some(format!("nobody owns {group}")) };
        let report = entry.report.as_ref().map(|report| &report.value);
        let online = report.is_some_and(|report| {
            report.epoch == ownership.epoch && report.state == GroupState::Online && report.server == *owner
        });
        if !online {
            return Some(format!("{group} is not online on {owner}"));
        }
        for machine in &state.machines {
            let runs = machine.running.keys().any(|(of, _)| of == group);
            if runs != (machine.name == *owner) {
                let (where_, word) = (&machine.name, if runs { "runs" } else { "does not run" });
                return Some(format!("{group} is owned by {owner}, and {word} on {where_}"));
            }
        }
    }
    None
}

/// Clients on every server, for as long as things go wrong.
fn clients(driver: &mut Driver, mut dice: Dice, until: u64) {
    if driver.now() >= until {
        return;
    }
    let at = usize::try_from(dice.below(driver.hosts.len() as u64)).unwrap_or(0);
    let kind = if dice.permille(500) { Kind::Write } else { Kind::Read };
    operation(driver, at, kind, None);
    let pause = dice.between(20, 700);
    driver.later(pause, move |driver| clients(driver, dice, until));
}

/// One last read on every server: what was ever acknowledged is there.
fn last_read(driver: &mut Driver) {
    for at in 0..driver.hosts.len() {
        operation(driver, at, Kind::Read, None);
    }
}

/// Clients that decide by what they have read: a while ago, on one server, and told to another.
fn deciders(driver: &mut Driver, mut dice: Dice, until: u64) {
    if driver.now() >= until {
        return;
    }
    let count = driver.hosts.len() as u64;
    let mut one = || usize::try_from(dice.below(count)).unwrap_or(0);
    let (from, to) = (one(), one());
    let (think, pause) = (dice.between(1, 400), dice.between(50, 900));
    let registry = driver.node(from).map(|node| node.state());
    let keys: Vec<Key> = registry.iter().flat_map(|state| hot(state)).collect();
    if let (Some(registry), Some(key)) = (registry, dice.pick(&keys).cloned()) {
        let named = (key.clone(), registry.revision_of(&key).0);
        driver.later(think, move |driver| operation(driver, to, Kind::Write, Some(named)));
    }
    driver.later(pause, move |driver| deciders(driver, dice, until));
}

/// What changes often.
fn hot(state: &Registry) -> Vec<Key> {
    let groups =
        state.groups.keys().flat_map(|group| [Key::Ownership(group.clone()), Key::Report(group.clone())]);
    groups.chain(state.servers.keys().map(|server| Key::Presence(server.clone()))).collect()
}

fn operation(driver: &mut Driver, at: usize, kind: Kind, named: Option<(Key, u64)>) {
    let Some(node) = driver.node(at).filter(|_| driver.quiet != Some(at)) else { return };
    let world = driver.world.clone();
    let id = next_operation();
    if let Some(host) = &driver.hosts[at] {
        world.state().happened(at, What::Client(Op { id, kind, named: named.clone(), outcome: None }));
        host.spawn(async move {
            let outcome = match kind {
                Kind::Write => {
                    let (key, digest) = (client::key(id), String::new());
                    let command =
                        Command::IssueToken { id: key, digest, server: None, expires: WallTime(u64::MAX) };
                    let author = Author::Operator("client".into());
                    let read = named.iter().map(|(key, at)| (key.clone(), Revision(*at))).collect();
                    match node.propose(author, command, None, read).await {
                        Ok(accepted) => Outcome::Written(accepted.revision.0),
                        Err(error @ (RegistryError::Refused(_) | RegistryError::NoQuorum(_))) => {
                            Outcome::NotDone(error.to_string())
                        }
                        Err(error) => Outcome::Unclear(error.to_string()),
                    }
                }
                Kind::Read => match node.read().await {
                    Ok(state) => {
                        let values = state.tokens.keys().filter_map(|key| client::of_key(key)).collect();
                        Outcome::Read(state.revision.0, values)
                    }
                    Err(error) => Outcome::NotDone(error.to_string()),
                },
            };
            world.state().happened(at, What::Client(Op { id, kind, named, outcome: Some(outcome) }));
        });
    }
}

fn next_operation() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// The tie-breaks by the words of the command line.
#[must_use]
pub fn tie_breaks() -> BTreeMap<&'static str, TieBreak> {
    BTreeMap::from([
        ("none", TieBreak::None),
        ("files", TieBreak::VotingFiles),
        ("witness", TieBreak::Witness { witness: "wit".into() }),
        ("fence", TieBreak::Fence),
        ("ping", TieBreak::UnsafePing { addresses: vec![[127, 9, 2, 254].into()] }),
    ])
}
