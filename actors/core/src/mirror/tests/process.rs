//! One server's process: the machine, its mailbox, and what the resource's agent wants of it.

use std::collections::{BTreeSet, VecDeque};

use super::{
    Side, brief,
    disk::{Disk, name},
    orders::Order,
    path::Path,
    settings::Settings,
    world::{Asked, World, group, volume},
};
use crate::{
    ids::{Epoch, ServerName},
    mirror::state::{Action, Event, Mirror, Note, Rules, Wake},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Closed,
    Opening(Epoch),
    Open(Epoch),
    Closing,
}

/// See the module.
#[derive(Clone, Debug)]
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
    /// The ownership under which an opening was tried.
    tried: Option<Epoch>,
    pub epoch: Epoch,
}

impl Process {
    pub fn new(side: Side, incarnation: u64, disk: &Disk, shown: usize, settings: &Settings) -> Self {
        let rules = Rules {
            volume: volume(),
            group: group(),
            me: name(side),
            peers: (0..settings.sides).filter(|other| *other != side).map(name).collect(),
            known_equal: settings.known_equal,
            automatic: settings.automatic,
            diskless: settings.diskless,
        };
        Self {
            incarnation,
            machine: Mirror::new(rules, Some(disk.local())),
            path: Path::new(settings, disk),
            mailbox: VecDeque::new(),
            orders: VecDeque::new(),
            wakes: BTreeSet::new(),
            shown,
            phase: Phase::Closed,
            lost: false,
            trouble: false,
            tried: None,
            epoch: Epoch(0),
        }
    }
}

pub fn side_of(server: &ServerName) -> Side {
    (0..3).find(|side| name(*side) == *server).unwrap_or_default()
}

impl World {
    /// The process of a server, where it runs and does not stand still.
    pub fn process(&mut self, side: Side) -> Option<&mut Process> {
        let server = &mut self.servers[side];
        if server.frozen { None } else { server.process.as_mut() }
    }

    /// The registry as applied on a server goes on.
    pub fn apply_more(&mut self, side: Side) -> bool {
        let last = self.shown.len() - 1;
        let Some(process) = self.process(side).filter(|process| process.shown < last) else { return false };
        process.shown += 1;
        self.look(side);
        true
    }

    pub fn look(&mut self, side: Side) {
        let Some(process) = &self.servers[side].process else { return };
        let shown = self.shown[process.shown].clone();
        self.tell(side, Event::Registry { volume: shown.facts.clone(), owner: shown.owner.clone() });
    }

    pub fn tell(&mut self, side: Side, event: Event) {
        let Some(process) = &mut self.servers[side].process else { return };
        let registry = matches!(event, Event::Registry { .. });
        let text =
            if self.telling { format!("{}: {}", name(side), brief::event(&event)) } else { String::new() };
        let before = if self.table.is_some() { process.machine.situation() } else { Vec::new() };
        let kind = if self.table.is_some() { super::table::kind(&event) } else { "" };
        let actions = process.machine.on(event);
        if let Some(table) = &mut self.table {
            table.add(&before, kind, &process.machine.situation(), &actions);
        }
        if self.telling && (!actions.is_empty() || !registry) {
            self.say(text);
        }
        for action in actions {
            if self.telling {
                self.say(format!("  {}: {}", name(side), brief::action(&action)));
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

    pub fn wake(&mut self, side: Side, wake: Wake) -> bool {
        if !self.process(side).is_some_and(|process| process.wakes.remove(&wake)) {
            return false;
        }
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
            Action::PauseResync { peer, rest } => order(Order::PauseResync(side_of(&peer), rest)),
            Action::Tell(note) => self.note(side, note),
            Action::Attach => order(Order::Attach),
            Action::Detach => order(Order::Detach),
            Action::GoDiskless { through } => order(Order::GoDiskless(side_of(&through))),
            Action::Connect { peer, epoch } => {
                process.path.calling[side_of(&peer)] = Some(epoch);
                process.path.refusals[side_of(&peer)] = None;
            }
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

    fn note(&mut self, side: Side, note: Note) {
        if let Note::Diverged(peer) = note {
            self.counts.diverged += 1;
            self.apart.insert((side, side_of(&peer)));
        }
    }

    /// What the resource's agent wants.
    pub fn agent(&mut self, side: Side) -> bool {
        let last = self.shown.len() - 1;
        let Some(process) = self.process(side) else { return false };
        let at = process.shown;
        let (phase, lost, tried) = (process.phase, process.lost, process.tried);
        let shown = self.shown[at].clone();
        let mine = shown.owner.clone().filter(|(owner, _)| *owner == name(side)).map(|(_, epoch)| epoch);
        match (phase, mine) {
            (Phase::Closed, Some(_)) if shown.release && at == last => {
                self.released(side);
                true
            }
            (Phase::Closed, Some(epoch)) if !shown.release && !lost && tried != Some(epoch) => {
                let disk = self.servers[side].disk.local();
                let up = |peer: &ServerName| self.state.presence(peer).is_none_or(|presence| presence.up);
                let away: BTreeSet<ServerName> =
                    (0..self.sides()).map(name).filter(|peer| !up(peer)).collect();
                if let Some(process) = self.process(side) {
                    process.phase = Phase::Opening(epoch);
                    process.tried = Some(epoch);
                    process.trouble = false;
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
        let local = self.servers[side].disk.local();
        let Some(process) = self.process(side).filter(|process| process.lost && !counted_on) else {
            return false;
        };
        process.lost = false;
        process.machine.own = Some(local);
        true
    }

    /// The owner's group does not run, and nothing that it does by itself changes that.
    pub fn is_in_trouble(&self, side: Side) -> bool {
        let Some(process) = &self.servers[side].process else { return false };
        let stuck =
            process.lost || process.trouble && matches!(process.phase, Phase::Closed | Phase::Open(_));
        self.owner() == Some(side) && stuck
    }
}
