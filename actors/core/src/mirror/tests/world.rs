//! Servers with copies of one volume, the registry that they share, and a client that remembers what
//! it was told. Nothing in it is left to chance: what happens next is a [`super::moves::Move`].

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
};

use super::{
    Side,
    disk::{Disk, name},
    moves::Held,
    process::Process,
    promise::Promise,
    settings::Settings,
    streams::Stream,
    table::Table,
};
use crate::{
    config::{
        ClusterConfig, ClusterSettings, GroupConfig, MirrorDiskConfig, ResourceConfig, ResourceKind,
        ServerConfig,
    },
    ids::{BootId, Epoch, GroupName, Incarnation, Lineage, Revision, ServerName, VolumeName},
    mirror::state::Event,
    registry::{
        Author, Command, State,
        mirror::{Volume, VolumeCommand},
    },
    time::WallTime,
    timing::Timing,
};

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
    pub diverged: u64,
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

#[derive(Clone, Debug)]
pub struct Server {
    pub disk: Disk,
    pub process: Option<Process>,
    pub frozen: bool,
    pub boot: u64,
    pub incarnation: u64,
}

/// See the module.
#[derive(Clone)]
pub struct World {
    pub settings: Settings,
    pub servers: Vec<Server>,
    pub state: Rc<State>,
    pub shown: Vec<Rc<Shown>>,
    pub asked: Vec<Asked>,
    pub cut: BTreeSet<(Side, Side)>,
    pub streams: Vec<Stream>,
    /// Data went apart between a primary and a peer, and an operator was not yet asked.
    pub apart: BTreeSet<(Side, Side)>,
    pub promise: Promise,
    /// The number of the next request.
    pub next: u64,
    pub counts: Counts,
    pub broken: Option<String>,
    pub trace: VecDeque<String>,
    /// What happens is written to the trace.
    pub telling: bool,
    /// What the machines did is collected.
    pub table: Option<Table>,
    /// What is not let happen.
    pub held: Held,
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
    /// All servers run, and nobody has opened the volume yet.
    pub fn new(settings: Settings) -> Self {
        let (sides, extents) = (settings.sides, settings.extents);
        let disk = || Disk::new(extents);
        let server = |_| Server { disk: disk(), process: None, frozen: false, boot: 1, incarnation: 0 };
        let mut world = Self {
            promise: Promise::new(sides, extents),
            settings,
            servers: (0..sides).map(server).collect(),
            state: Rc::new(State::default()),
            shown: Vec::new(),
            asked: Vec::new(),
            cut: BTreeSet::new(),
            streams: Vec::new(),
            apart: BTreeSet::new(),
            next: 1,
            counts: Counts::default(),
            broken: None,
            trace: VecDeque::new(),
            telling: false,
            table: None,
            held: Held::default(),
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

    pub fn mail(&mut self, side: Side, incarnation: u64, event: Event) {
        if let Some(process) = &mut self.servers[side].process
            && process.incarnation == incarnation
        {
            process.mailbox.push_back(event);
        }
    }

    pub fn facts(&self) -> Option<&Volume> {
        self.state.volumes.get(&volume()).map(|item| &item.value)
    }

    pub fn is_good(&self, side: Side) -> bool {
        self.facts().is_some_and(|facts| facts.good.contains(&name(side)))
    }

    /// The owner of the volume's group.
    pub fn owner(&self) -> Option<Side> {
        let owner = self.state.groups.get(&group())?.ownership.value.owner.clone()?;
        (0..self.sides()).find(|side| name(*side) == owner)
    }

    /// A server's node starts.
    pub fn come_back(&mut self, side: Side) -> bool {
        if self.servers[side].process.is_some() {
            return false;
        }
        let server = &mut self.servers[side];
        server.incarnation += 1;
        server.frozen = false;
        let (incarnation, boot) = (Incarnation(server.incarnation), BootId::new(format!("{}", server.boot)));
        self.must(Command::ServerStarted { server: name(side), incarnation, boot });
        let counted_on = self.is_good(side);
        let (shown, opened) = (self.shown.len() - 1, self.counts.opened > 0);
        let settings = self.settings.clone();
        let server = &mut self.servers[side];
        if !server.disk.failed {
            server.disk.recover(settings.sides, settings.gap);
        }
        let mut process = Process::new(side, server.incarnation, &server.disk, shown, &settings);
        process.lost = server.disk.blank && counted_on && opened;
        server.process = Some(process);
        self.look(side);
        true
    }

    /// The process ends at once. With the power also goes what was not flushed, but for what these
    /// bits name.
    pub fn end_process(&mut self, side: Side, power: Option<u32>) -> bool {
        let server = &mut self.servers[side];
        server.frozen = false;
        let had = server.process.take();
        let ended = had.is_some();
        if let Some(mut process) = had {
            self.counts.crashes += 1;
            self.promise.forget(&mut process.path);
            self.end_streams_of(side);
        }
        let Some(kept) = power else { return ended };
        let server = &mut self.servers[side];
        server.boot += 1;
        server.disk.lose_power(kept);
        self.promise.weak[side] = true;
        true
    }

    /// Another disk is put in, or the old one works again, while the server is down.
    pub fn mend_disk(&mut self, side: Side, other: bool) -> bool {
        let last = self.facts().is_some_and(|facts| facts.good.iter().all(|good| *good == name(side)));
        let server = &mut self.servers[side];
        if !server.disk.failed || server.process.is_some() || other && last {
            return false;
        }
        if other {
            let size = server.disk.size;
            server.disk = Disk::new(self.settings.extents);
            server.disk.size = size;
        }
        server.disk.failed = false;
        true
    }

    fn must(&mut self, command: Command) {
        use crate::registry::Reply;
        let reply = self.commit(Author::Operator("test".into()), command, Vec::new());
        assert!(matches!(reply, Reply::Applied { .. }), "{reply:?}");
    }
}
