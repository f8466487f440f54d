//! The registry of this world: the real `apply`, commands that arrive late or never, and who is given
//! the group.

use std::rc::Rc;

use super::{
    Side,
    disk::name,
    process::side_of,
    world::{Asked, Shown, World, group, volume},
};
use crate::{
    ids::{Incarnation, Revision},
    mirror::{
        lapse::{self, Lapse},
        state::{Event, Outcome},
    },
    registry::{Author, Command, Key, Proposal, Reply, apply, mirror::VolumeCommand, state::StartEvent},
    time::WallTime,
};

impl World {
    pub fn commit(&mut self, author: Author, command: Command, read: Vec<(Key, Revision)>) -> Reply {
        let lineage = self.state.lineage.clone();
        let proposal = Proposal { id: None, author, at: WallTime(1), lineage, read, reason: None, command };
        let said = if self.telling { proposal.command.to_string() } else { String::new() };
        let reply = apply(Rc::make_mut(&mut self.state), &proposal);
        match &reply {
            Reply::Applied { .. } => {
                if self.telling {
                    self.say(format!("   committed: {said}"));
                }
                let ownership = self.state.groups.get(&group()).map(|entry| entry.ownership.value.clone());
                let ownership = ownership.unwrap_or_default();
                let facts = self.state.volumes.get(&volume());
                let shown = Shown {
                    facts: facts.map(|item| (item.value.clone(), item.modified)),
                    owner: ownership.owner.map(|owner| (owner, ownership.epoch)),
                    release: ownership.release.is_some(),
                };
                self.shown.push(Rc::new(shown));
            }
            Reply::Refused(why) => {
                if self.telling && !said.contains(" owns ") {
                    self.say(format!("   refused: {said}: {why}"));
                }
            }
        }
        reply
    }

    /// A command reaches the log.
    pub fn arrive(&mut self, at: usize) -> bool {
        if at >= self.asked.len() {
            return false;
        }
        let Asked { from, incarnation, command, read, answered } = self.asked.remove(at);
        let mut read = vec![(Key::Volume(volume()), read.unwrap_or_default())];
        if lapse::is(Lapse::OlderFacts) || lapse::is(Lapse::AnyEpoch) {
            read.clear();
        }
        let whole = Command::Volume { volume: volume(), command: command.clone() };
        let outcome = match self.commit(Author::Server(name(from)), whole, read) {
            Reply::Applied { revision, .. } => {
                match &command {
                    VolumeCommand::Open { .. } => self.counts.opened += 1,
                    VolumeCommand::Outdate { .. } => self.counts.outdated += 1,
                    VolumeCommand::UpToDate { .. } => self.counts.back += 1,
                    _ => {}
                }
                Outcome::Accepted(revision)
            }
            Reply::Refused(_) => Outcome::Refused,
        };
        if !answered {
            self.mail(from, incarnation, Event::Outcome { command, outcome });
        }
        true
    }

    /// Nobody knows what becomes of a command.
    pub fn unclear(&mut self, at: usize) -> bool {
        let Some(asked) = self.asked.get_mut(at).filter(|asked| !asked.answered) else { return false };
        asked.answered = true;
        let Asked { from, incarnation, command, .. } = asked.clone();
        self.counts.unclear += 1;
        self.mail(from, incarnation, Event::Outcome { command, outcome: Outcome::Unclear });
        true
    }

    /// A command of which nobody knows never arrives.
    pub fn vanish(&mut self, at: usize) -> bool {
        let gone = self.asked.get(at).is_some_and(|asked| asked.answered);
        if gone {
            self.asked.remove(at);
        }
        gone
    }

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
            let command = Command::Released { group, epoch, server: server.clone() };
            self.commit(Author::Server(server), command, Vec::new());
        }
    }

    /// A server that is down, or stands still for longer than its lease, is taken for gone.
    pub fn gone(&mut self, side: Side) -> bool {
        let up = self.state.presence(&name(side)).is_some_and(|presence| presence.up);
        if !up || self.process(side).is_some() {
            return false;
        }
        let incarnation = Incarnation(self.servers[side].incarnation);
        let command = Command::ServerGone { server: name(side), incarnation };
        matches!(self.commit(Author::Leader(name(0)), command, Vec::new()), Reply::Applied { .. })
    }

    /// An operator's word: this copy is the good one (C20). Nobody says so of a disk that has nothing.
    pub fn force(&mut self, side: Side) -> bool {
        if self.servers[side].disk.blank || self.servers[side].disk.failed {
            return false;
        }
        let command = VolumeCommand::Force { server: name(side) };
        let whole = Command::Volume { volume: volume(), command };
        let reply = self.commit(Author::Operator("test".into()), whole, Vec::new());
        let done = matches!(reply, Reply::Applied { .. });
        if done {
            self.forced(side);
        }
        done
    }

    /// The data areas of all connected copies have grown.
    pub fn grow(&mut self, side: Side) -> bool {
        let sides = self.sides();
        let size = self.servers[side].disk.size + 4096;
        let all = (0..sides).all(|peer| peer == side || self.stands(side, peer));
        let Some(process) = self.process(side).filter(|process| process.path.attached && all) else {
            return false;
        };
        let incarnation = process.incarnation;
        self.servers.iter_mut().for_each(|server| server.disk.size = size);
        self.mail(side, incarnation, Event::Resized { size });
        true
    }

    /// An operator's word to whoever has the volume open.
    pub fn wish(&mut self, side: Side, wish: crate::mirror::state::Wish) -> bool {
        use crate::mirror::state::Wish;
        let Some(process) = self.process(side) else { return false };
        let incarnation = process.incarnation;
        if let Wish::Rebuild { peer, discard: true, .. } = &wish {
            let peer = side_of(peer);
            self.apart.remove(&(side, peer));
        }
        self.mail(side, incarnation, Event::Wish(wish));
        true
    }
}
