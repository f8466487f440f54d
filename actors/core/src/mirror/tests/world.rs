//! Servers with copies of one volume, the registry that they share, and a client that remembers what
//! it was told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{
    Random, Side,
    disk::{Disk, name},
    node::Process,
    path::Stream,
};
use crate::{
    config::{
        ClusterConfig, ClusterSettings, GroupConfig, MirrorDiskConfig, ResourceConfig, ResourceKind,
        ServerConfig,
    },
    ids::{BootId, Epoch, GroupName, Incarnation, Lineage, Revision, ServerName, VolumeName},
    mirror::{
        lapse::{self, Lapse},
        state::{Event, Outcome},
    },
    registry::{
        Author, Command, Key, Proposal, Reply, State, apply,
        mirror::{Volume, VolumeCommand},
        state::StartEvent,
    },
    time::WallTime,
    timing::Timing,
};

/// Few, so that they are met often. A region of the activity log is one extent here.
pub const EXTENTS: u64 = 6;

/// A rule that the data path may leave out. The others are in [`crate::mirror::lapse`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// R27: nobody records what a primary without a disk lacks.
    NotRecorded,
    /// R29: a write is sent before a log that names it is on the disk.
    SentBeforeLog,
    /// R29: a region leaves the log while a leg is not flushed.
    LeavesEarly,
    /// R29: what the peer has not flushed does not join the dirty map when the stream ends.
    UnflushedForgotten,
    /// R29, R30: what the log of a crashed primary names is not copied.
    LogForgotten,
    /// R30: only the source's maps are looked at.
    NoUnion,
    /// R30: bits are cleared before the target has flushed.
    ClearedEarly,
    /// R30: an extent is copied and written at the same time.
    NoExclusion,
    /// R31: a receiver takes frames of an older epoch.
    OlderFrames,
    /// R32: a flush is answered without the peer.
    FlushAlone,
}

/// How often things happened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub writes: u64,
    pub flushes: u64,
    pub reads: u64,
    pub opened: u64,
    pub outdated: u64,
    pub back: u64,
    pub resyncs: u64,
    pub full: u64,
    pub diskless: u64,
    pub crashes: u64,
    pub frozen: u64,
    pub unclear: u64,
}

/// What the registry showed after one change.
#[derive(Clone, Debug)]
pub struct Shown {
    pub facts: Option<(Volume, Revision)>,
    pub owner: Option<(ServerName, Epoch)>,
    pub release: bool,
}

/// A command under way to the log.
#[derive(Clone, Debug)]
pub struct Asked {
    pub from: Side,
    pub incarnation: u64,
    pub command: VolumeCommand,
    pub read: Option<Revision>,
    /// Its outcome was said: it may be applied all the same.
    pub answered: bool,
}

pub struct Server {
    pub disk: Disk,
    pub process: Option<Process>,
    pub frozen: bool,
    pub boot: u64,
    pub incarnation: u64,
}

/// One extent, as the client knows it.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The last write that was answered, and still has to be there.
    pub acknowledged: u64,
    /// The last write that a flush covered.
    pub flushed: u64,
    /// The copies that have the last answered write, and have not lost power since.
    pub holders: BTreeSet<Side>,
    /// Writes that may be there or not.
    pub pending: BTreeSet<u64>,
    /// Writes that a read did not see: they may not come back.
    pub dead: BTreeSet<u64>,
}

pub struct World {
    pub random: Random,
    pub gap: Option<Gap>,
    pub servers: Vec<Server>,
    pub state: State,
    pub shown: Vec<Shown>,
    pub asked: Vec<Asked>,
    pub cut: BTreeSet<(Side, Side)>,
    pub streams: Vec<Stream>,
    pub known: Vec<Known>,
    pub next: u64,
    pub counts: Counts,
    pub broken: Option<String>,
    pub trace: VecDeque<String>,
    /// What happens is written to the trace.
    pub telling: bool,
    /// Faults have ended.
    pub calm: bool,
    /// Without its own disk a primary goes on through a peer.
    pub diskless: bool,
}

pub fn group() -> GroupName {
    "db".into()
}

pub fn volume() -> VolumeName {
    "data".into()
}

fn config(sides: usize) -> ClusterConfig {
    let server = |number| ServerConfig {
        role: Default::default(),
        domain: None,
        fencing: Vec::new(),
        number,
        comment: String::new(),
        addresses: BTreeMap::new(),
    };
    let disk = MirrorDiskConfig::of("/dev/sdb2".into(), "/dev/sdb1".into());
    let disk = ResourceConfig::of(ResourceKind::MirrorDisk(disk));
    let servers: Vec<ServerName> = (0..sides).map(name).collect();
    let db = GroupConfig {
        servers: servers.clone(),
        resources: BTreeMap::from([("data".into(), disk)]),
        ..GroupConfig::default()
    };
    ClusterConfig {
        settings: ClusterSettings {
            votes: Default::default(),
            fences: BTreeMap::new(),
            on_hang: Default::default(),
            name: "mirror".into(),
            comment: String::new(),
            timing: Timing::from_detect(std::time::Duration::from_secs(1)),
            startup_wait: std::time::Duration::ZERO,
            networks: BTreeMap::new(),
            heartbeats: Vec::new(),
            port: 1,
            heartbeat_port: 2,
        },
        servers: servers.into_iter().zip((1..).map(server)).collect(),
        groups: BTreeMap::from([(group(), db)]),
        types: BTreeMap::new(),
        pools: BTreeMap::new(),
        resources: BTreeMap::new(),
        monitors: BTreeMap::new(),
    }
}

impl World {
    pub fn new(seed: u64, sides: usize, gap: Option<Gap>) -> Self {
        let mut random = Random(seed);
        let diskless = random.chance(70);
        let server = |_| Server { disk: Disk::new(), process: None, frozen: false, boot: 1, incarnation: 0 };
        let mut world = Self {
            random,
            gap,
            servers: (0..sides).map(server).collect(),
            state: State::default(),
            shown: Vec::new(),
            asked: Vec::new(),
            cut: BTreeSet::new(),
            streams: Vec::new(),
            known: vec![Known::default(); EXTENTS as usize],
            next: 1,
            counts: Counts::default(),
            broken: None,
            trace: VecDeque::new(),
            telling: false,
            calm: false,
            diskless,
        };
        let (lineage, config, founder) = (Lineage::new("history-1"), config(sides), name(0));
        world.must(Command::Initialise { lineage, config, founder });
        for side in 1..sides {
            let (id, digest) = (name(side).to_string(), "d".to_owned());
            let expires = WallTime(u64::MAX);
            world.must(Command::IssueToken { id: id.clone(), digest: digest.clone(), server: None, expires });
            world.must(Command::Join { token: id, digest, server: name(side) });
        }
        for side in 0..sides {
            world.come_back(side);
        }
        world
    }

    pub fn sides(&self) -> usize {
        self.servers.len()
    }

    pub fn say(&mut self, text: String) {
        if self.trace.len() > 400 {
            self.trace.pop_front();
        }
        self.trace.push_back(text);
    }

    pub fn fail(&mut self, why: String) {
        if self.broken.is_none() {
            if self.telling {
                self.say(format!("!! {why}"));
            }
            self.broken = Some(why);
        }
    }

    // --- registry ---------------------------------------------------------------------------------

    pub fn commit(&mut self, author: Author, command: Command, read: Vec<(Key, Revision)>) -> Reply {
        let lineage = self.state.lineage.clone();
        let proposal = Proposal { id: None, author, at: WallTime(1), lineage, read, reason: None, command };
        let said = if self.telling { proposal.command.to_string() } else { String::new() };
        let reply = apply(&mut self.state, &proposal);
        match &reply {
            Reply::Applied { .. } => {
                if self.telling {
                    self.say(format!("   committed: {said}"));
                }
                let ownership = self.state.groups.get(&group()).map(|entry| entry.ownership.value.clone());
                let ownership = ownership.unwrap_or_default();
                let facts = self.state.volumes.get(&volume());
                self.shown.push(Shown {
                    facts: facts.map(|item| (item.value.clone(), item.modified)),
                    owner: ownership.owner.map(|owner| (owner, ownership.epoch)),
                    release: ownership.release.is_some(),
                });
            }
            Reply::Refused(why) => {
                if self.telling && !said.contains(" owns ") {
                    self.say(format!("   refused: {said}: {why}"));
                }
            }
        }
        reply
    }

    fn must(&mut self, command: Command) {
        let reply = self.commit(Author::Operator("test".into()), command, Vec::new());
        assert!(matches!(reply, Reply::Applied { .. }), "{reply:?}");
    }

    pub fn facts(&self) -> Option<&Volume> {
        self.state.volumes.get(&volume()).map(|item| &item.value)
    }

    pub fn owner(&self) -> Option<Side> {
        let owner = self.state.groups.get(&group())?.ownership.value.owner.clone()?;
        (0..self.sides()).find(|side| name(*side) == owner)
    }

    /// A command reaches the log.
    pub fn arrive(&mut self, at: usize) {
        let Asked { from, incarnation, command, read, answered } = self.asked.remove(at);
        let mut read = vec![(Key::Volume(volume()), read.unwrap_or_default())];
        if lapse::is(Lapse::OlderFacts) || lapse::is(Lapse::AnyEpoch) {
            read.clear();
        }
        let whole = Command::Volume { volume: volume(), command: command.clone() };
        let reply = self.commit(Author::Server(name(from)), whole, read);
        let outcome = match reply {
            Reply::Applied { revision, .. } => {
                self.count(&command);
                Outcome::Accepted(revision)
            }
            Reply::Refused(_) => Outcome::Refused,
        };
        if !answered {
            self.mail(from, incarnation, Event::Outcome { command, outcome });
        }
    }

    fn count(&mut self, command: &VolumeCommand) {
        match command {
            VolumeCommand::Open { .. } => self.counts.opened += 1,
            VolumeCommand::Outdate { .. } => self.counts.outdated += 1,
            VolumeCommand::UpToDate { copy, .. } => {
                self.counts.back += 1;
                // What was copied to it is on its disk.
                let side = (0..self.sides()).find(|side| name(*side) == *copy);
                self.known.iter_mut().for_each(|known| known.holders.extend(side));
            }
            _ => {}
        }
    }

    /// Nobody knows what becomes of a command.
    pub fn unclear(&mut self, at: usize) {
        self.counts.unclear += 1;
        let Asked { from, incarnation, command, .. } = self.asked[at].clone();
        self.asked[at].answered = true;
        self.mail(from, incarnation, Event::Outcome { command, outcome: Outcome::Unclear });
        if self.random.chance(50) {
            self.asked.remove(at); // it never arrives
        }
    }

    pub fn mail(&mut self, side: Side, incarnation: u64, event: Event) {
        if let Some(process) = &mut self.servers[side].process
            && process.incarnation == incarnation
        {
            process.mailbox.push_back(event);
        }
    }

    // --- the cluster ------------------------------------------------------------------------------

    /// The leader gives the group to somebody.
    pub fn assign(&mut self, to: Side) -> bool {
        if self.owner().is_some() {
            return false;
        }
        let epoch = self.state.groups[&group()].ownership.value.epoch.next();
        let (group, server, event) = (group(), name(to), StartEvent::Failover);
        let command = Command::Assign { group, server, epoch, event };
        matches!(self.commit(Author::Leader(name(0)), command, Vec::new()), Reply::Applied { .. })
    }

    /// The leader, or an operator, takes the group from its owner.
    pub fn release(&mut self) -> bool {
        let ownership = &self.state.groups[&group()].ownership.value;
        if ownership.owner.is_none() || ownership.release.is_some() {
            return false;
        }
        let (epoch, event) = (ownership.epoch, StartEvent::Failover);
        let command = Command::Release { group: group(), epoch, to: None, event, charge: None };
        matches!(self.commit(Author::Leader(name(0)), command, Vec::new()), Reply::Applied { .. })
    }

    pub fn released(&mut self, side: Side) {
        let ownership = &self.state.groups[&group()].ownership.value;
        if ownership.owner == Some(name(side)) && ownership.release.is_some() {
            let (group, epoch, server) = (group(), ownership.epoch, name(side));
            self.commit(
                Author::Server(server.clone()),
                Command::Released { group, epoch, server },
                Vec::new(),
            );
        }
    }

    pub fn gone(&mut self, side: Side) -> bool {
        let up = self.state.presence(&name(side)).is_some_and(|presence| presence.up);
        if !up {
            return false;
        }
        let incarnation = Incarnation(self.servers[side].incarnation);
        let command = Command::ServerGone { server: name(side), incarnation };
        matches!(self.commit(Author::Leader(name(0)), command, Vec::new()), Reply::Applied { .. })
    }

    pub fn come_back(&mut self, side: Side) -> bool {
        if self.servers[side].process.is_some() {
            return false;
        }
        let server = &mut self.servers[side];
        server.incarnation += 1;
        server.frozen = false;
        let (incarnation, boot) = (Incarnation(server.incarnation), BootId::new(format!("{}", server.boot)));
        self.must(Command::ServerStarted { server: name(side), incarnation, boot });
        let counted_on = self.facts().is_some_and(|facts| facts.good.contains(&name(side)));
        let sides = self.sides();
        let shown = self.shown.len() - 1;
        let (gap, diskless) = (self.gap, self.diskless);
        let server = &mut self.servers[side];
        if !server.disk.failed {
            server.disk.recover(sides, gap);
        }
        let lost = server.disk.blank && counted_on && self.counts.opened > 0;
        let server = &mut self.servers[side];
        server.process = Some(Process::new(side, sides, server.incarnation, &server.disk, shown, diskless));
        if let Some(process) = &mut server.process {
            process.lost = lost;
        }
        self.look(side);
        true
    }

    /// The process ends at once. With the power also goes what was not flushed.
    pub fn crash(&mut self, side: Side, power: bool) -> bool {
        if self.servers[side].process.take().is_none() && !power {
            return false;
        }
        self.counts.crashes += 1;
        self.servers[side].frozen = false;
        self.end_streams_of(side);
        if power {
            self.servers[side].boot += 1;
            self.servers[side].disk.lose_power(&mut self.random);
            self.known.iter_mut().for_each(|known| _ = known.holders.remove(&side));
            let processes = self.servers.iter_mut().filter_map(|server| server.process.as_mut());
            for flight in processes.flat_map(|process| &mut process.path.flights) {
                flight.lost.push(side);
            }
        }
        true
    }

    /// Another disk is put in, or the old one works again, while the server is down.
    pub fn mend_disk(&mut self, side: Side) -> bool {
        let server = &mut self.servers[side];
        if !server.disk.failed || server.process.is_some() {
            return false;
        }
        let last = |facts: &Volume| facts.good.iter().all(|good| *good == name(side));
        if self.random.chance(50) && !self.state.volumes.get(&volume()).is_some_and(|it| last(&it.value)) {
            server.disk = Disk::new();
        } else {
            server.disk.failed = false;
        }
        true
    }
}
