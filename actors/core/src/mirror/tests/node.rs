//! One server's process: the machine, its mailbox, and the orders that it gives its data path.

use std::collections::{BTreeSet, VecDeque};

use super::{
    Side,
    disk::{Disk, name},
    path::{Copying, Path},
    world::{Asked, Gap, World, group, volume},
};
use crate::{
    ids::{Epoch, Generation, ServerName},
    mirror::state::{Action, Event, Mirror, PeerMode, Rules, Wake},
};

/// What is done in order, beside the actor.
#[derive(Clone, Debug)]
pub enum Order {
    StoreEpoch(Epoch),
    StoreStep(Generation, ServerName),
    SetPeer(Side, PeerMode),
    StartResync { peer: Side, full: bool },
    StopResync(Side),
    Attach,
    Detach,
    GoDiskless(Side),
    LetGo { released: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Closed,
    Opening(Epoch),
    Open(Epoch),
    Closing,
}

/// See the module.
pub struct Process {
    pub incarnation: u64,
    pub machine: Mirror,
    pub path: Path,
    pub mailbox: VecDeque<Event>,
    pub orders: VecDeque<Order>,
    pub wakes: BTreeSet<Wake>,
    /// How much of the registry is applied here.
    pub shown: usize,
    pub phase: Phase,
    /// The copy could not be opened: it is blank, and the registry counts on it.
    pub lost: bool,
    /// The last opening failed, or the I/O did.
    pub trouble: bool,
    epoch: Epoch,
}

impl Process {
    pub fn new(
        side: Side,
        sides: usize,
        incarnation: u64,
        disk: &Disk,
        shown: usize,
        diskless: bool,
    ) -> Self {
        let rules = Rules {
            volume: volume(),
            group: group(),
            me: name(side),
            peers: (0..sides).filter(|other| *other != side).map(name).collect(),
            known_equal: false,
            automatic: true,
            diskless,
        };
        Self {
            incarnation,
            machine: Mirror::new(rules, Some(disk.local())),
            path: Path::new(sides, disk),
            mailbox: VecDeque::new(),
            orders: VecDeque::new(),
            wakes: BTreeSet::new(),
            shown,
            phase: Phase::Closed,
            lost: false,
            trouble: false,
            epoch: Epoch(0),
        }
    }
}

fn side_of(server: &ServerName) -> Side {
    (0..3).find(|side| name(*side) == *server).unwrap_or_default()
}

impl World {
    pub fn process(&mut self, side: Side) -> Option<&mut Process> {
        let server = &mut self.servers[side];
        if server.frozen { None } else { server.process.as_mut() }
    }

    /// The registry as applied on a server goes on.
    pub fn apply_more(&mut self, side: Side) -> bool {
        let last = self.shown.len() - 1;
        let step = 1 + self.random.below(3);
        let Some(process) = self.process(side).filter(|process| process.shown < last) else { return false };
        process.shown = last.min(process.shown + step);
        self.look(side);
        true
    }

    pub fn look(&mut self, side: Side) {
        let Some(process) = &self.servers[side].process else { return };
        let shown = self.shown[process.shown].clone();
        self.tell(side, Event::Registry { volume: shown.facts, owner: shown.owner });
    }

    pub fn tell(&mut self, side: Side, event: Event) {
        let Some(process) = &mut self.servers[side].process else { return };
        let registry = matches!(event, Event::Registry { .. });
        let text = if self.telling { format!("{}: {event:?}", name(side)) } else { String::new() };
        let actions = process.machine.on(event);
        if self.telling && (!actions.is_empty() || !registry) {
            self.say(text);
        }
        for action in actions {
            if self.telling {
                self.say(format!("      {}: {action:?}", name(side)));
            }
            self.perform(side, action);
        }
    }

    pub fn read_mail(&mut self, side: Side) -> bool {
        let Some(event) = self.process(side).and_then(|process| process.mailbox.pop_front()) else {
            return false;
        };
        self.tell(side, event);
        true
    }

    pub fn wake(&mut self, side: Side) -> bool {
        let Some(wake) = self.process(side).and_then(|process| process.wakes.pop_first()) else {
            return false;
        };
        self.tell(side, Event::Woken(wake));
        true
    }

    fn perform(&mut self, side: Side, action: Action) {
        let Some(process) = &mut self.servers[side].process else { return };
        let mut order = |order| process.orders.push_back(order);
        match action {
            Action::StoreEpoch(epoch) => {
                order(Order::StoreEpoch(epoch));
                process.epoch = epoch;
            }
            Action::StoreStep { generation, by } => order(Order::StoreStep(generation, by)),
            Action::SetPeer { peer, mode } => order(Order::SetPeer(side_of(&peer), mode)),
            Action::StartResync { peer, full, .. } => {
                order(Order::StartResync { peer: side_of(&peer), full });
            }
            Action::StopResync { peer } => order(Order::StopResync(side_of(&peer))),
            Action::PauseResync { .. } | Action::Tell(_) => {}
            Action::Attach => order(Order::Attach),
            Action::Detach => order(Order::Detach),
            Action::GoDiskless { through } => order(Order::GoDiskless(side_of(&through))),
            Action::Connect { peer, epoch } => process.path.calling[side_of(&peer)] = Some(epoch),
            Action::Disconnect { peer } => {
                process.path.calling[side_of(&peer)] = None;
                self.drop_stream(side, side_of(&peer));
            }
            Action::Propose { command, read } => {
                let incarnation = process.incarnation;
                self.asked.push(Asked { from: side, incarnation, command, read, answered: false });
            }
            Action::FailIo => {
                process.trouble = true;
                self.fail_io(side);
            }
            Action::Promoted(Ok(())) => {
                if let Phase::Opening(epoch) = process.phase {
                    process.phase = Phase::Open(epoch);
                }
            }
            Action::Promoted(Err(_)) => {
                process.trouble = true;
                if process.phase != Phase::Closing {
                    process.phase = Phase::Closing;
                    process.orders.push_back(Order::LetGo { released: false });
                }
            }
            Action::Demoted => order(Order::LetGo { released: true }),
            Action::Wake(wake) => drop(process.wakes.insert(wake)),
        }
    }

    /// What the resource's agent wants.
    pub fn agent(&mut self, side: Side) -> bool {
        let last = self.shown.len() - 1;
        let Some(process) = self.process(side) else { return false };
        let at = process.shown;
        let (phase, lost) = (process.phase, process.lost);
        let shown = self.shown[at].clone();
        let mine = shown.owner.filter(|(owner, _)| *owner == name(side)).map(|(_, epoch)| epoch);
        match (phase, mine) {
            (Phase::Closed, Some(_)) if shown.release && at == last => {
                self.released(side);
                true
            }
            (Phase::Closed, Some(epoch)) if !shown.release && !lost => {
                let disk = self.servers[side].disk.local();
                let away: BTreeSet<ServerName> = (0..self.sides())
                    .map(name)
                    .filter(|peer| self.state.presence(peer).is_some_and(|presence| !presence.up))
                    .collect();
                if let Some(process) = self.process(side) {
                    process.phase = Phase::Opening(epoch);
                    process.machine.own = Some(disk);
                    process.machine.away = away;
                }
                self.tell(side, Event::Promote { group_epoch: epoch });
                true
            }
            (Phase::Open(epoch) | Phase::Opening(epoch), mine) if shown.release || mine != Some(epoch) => {
                // One that asks before the registry shows here that it may is not told to stop.
                if let Some(process) = self.process(side) {
                    process.phase = Phase::Closing;
                }
                self.tell(side, Event::Demote);
                true
            }
            _ => false,
        }
    }

    /// A copy that could not be opened is tried again.
    pub fn open_again(&mut self, side: Side) -> bool {
        let counted_on = self.facts().is_some_and(|facts| facts.good.contains(&name(side)));
        let disk = self.servers[side].disk.clone();
        let Some(process) = self.process(side).filter(|process| process.lost && !counted_on) else {
            return false;
        };
        process.lost = false;
        process.machine.own = Some(disk.local());
        true
    }

    /// The next order is done.
    pub fn obey(&mut self, side: Side) -> bool {
        let Some(process) = self.process(side) else { return false };
        let Some(order) = process.orders.front().cloned() else { return false };
        let incarnation = process.incarnation;
        if let Some(process) = self.process(side) {
            process.orders.pop_front();
        }
        if self.telling {
            self.say(format!("      {} does {order:?}", name(side)));
        }
        let failed = self.servers[side].disk.failed;
        match order {
            Order::StoreEpoch(epoch) => {
                if failed {
                    self.mail(side, incarnation, Event::DiskFailed { why: "test".into() });
                    return true;
                }
                self.end_older(side, epoch);
                let disk = &mut self.servers[side].disk;
                disk.epoch = disk.epoch.max(epoch);
                disk.blank = false;
                let history = disk.history.clone();
                if let Some(process) = self.process(side) {
                    process.path.history = history;
                }
                self.mail(side, incarnation, Event::EpochStored);
            }
            Order::StoreStep(generation, by) => {
                let known_failed = self.process(side).is_some_and(|process| process.path.told_failed);
                if failed && !known_failed {
                    self.fail_disk(side);
                    return true;
                }
                let server = &mut self.servers[side];
                if let Some(process) = &mut server.process {
                    if !failed {
                        process.path.history = server.disk.history.clone();
                    }
                    process.path.history.step(generation, &by);
                    if !failed {
                        server.disk.history = process.path.history.clone();
                        server.disk.blank = false;
                        server.disk.state = crate::mirror::DiskState::Consistent;
                    }
                }
                self.mail(side, incarnation, Event::CopyStored);
            }
            Order::SetPeer(peer, mode) => {
                if self.set_peer(side, peer, mode) {
                    self.mail(side, incarnation, Event::PeerSet { peer: name(peer), mode });
                }
            }
            Order::StartResync { peer, full } => self.start_resync(side, peer, full),
            Order::StopResync(peer) => {
                if let Some(process) = self.process(side) {
                    process.path.resync[peer] = Copying::No;
                }
            }
            Order::Attach => {
                self.attach(side);
                self.mail(side, incarnation, Event::Attached);
            }
            Order::Detach => {
                if let Some(process) = self.process(side) {
                    process.path.detaching = true;
                }
            }
            Order::GoDiskless(peer) => self.go_diskless(side, peer),
            Order::LetGo { released } => {
                self.let_go(side);
                if let Some(process) = self.process(side) {
                    process.phase = Phase::Closed;
                }
                if released {
                    self.released(side);
                }
            }
        }
        true
    }

    /// The device goes when nothing is under way any more; orders that come later do not wait for that.
    pub fn finish_detach(&mut self, side: Side) -> bool {
        if !self.process(side).is_some_and(|process| process.path.detaching) || !self.quiet(side) {
            return false;
        }
        let Some(process) = self.process(side) else { return false };
        (process.path.detaching, process.path.attached) = (false, false);
        let incarnation = process.incarnation;
        self.mail(side, incarnation, Event::Detached);
        true
    }

    /// Becoming primary: from here on the client may use the device.
    fn attach(&mut self, side: Side) {
        let Some(process) = self.process(side) else { return };
        let epoch = process.epoch;
        process.path.primary = Some(epoch);
        process.path.attached = true;
        process.trouble = false;
        let others = (0..self.sides()).filter(|other| *other != side);
        let twice = others.into_iter().any(|other| {
            let path = self.servers[other].process.as_ref().map(|process| &process.path);
            path.is_some_and(|path| path.attached && path.primary == Some(epoch))
        });
        if twice {
            self.fail(format!("two writable copies in epoch {epoch}"));
        }
        // What only others had, and nobody flushed, went with the power of this server.
        for known in &mut self.known {
            if !known.holders.contains(&side) && known.acknowledged > known.flushed {
                known.pending.insert(known.acknowledged);
                known.acknowledged = known.flushed;
            }
        }
    }

    fn go_diskless(&mut self, side: Side, peer: Side) {
        let stands = self.stream_of(side, peer).is_some_and(|at| self.streams[at].stands());
        if !stands {
            return; // `PeerLost` is on its way
        }
        self.counts.diskless += 1;
        let gap = self.gap;
        let Some(process) = self.process(side) else { return };
        process.path.through = Some(peer);
        let lacks: Vec<u64> = process.path.lacks_locally();
        if gap != Some(Gap::NotRecorded) {
            self.record(peer, side, &lacks);
        }
    }
}
