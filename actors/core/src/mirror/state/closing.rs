//! The way back: device away, peers let go, closed.

use super::{
    Action, Mirror, NotPromoted,
    opening::Device,
    proposals::{Answer, Asked},
};
use crate::registry::mirror::VolumeCommand;

/// A tenure ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Ends {
    /// Why it was not promoted.
    pub why: Option<NotPromoted>,
    /// `Demoted` has to be said.
    demoted: bool,
    /// The peers were let go, and "closed" was proposed.
    pub closing: bool,
    /// Something was said of that.
    pub closed: bool,
}

impl Mirror {
    pub(super) fn demote(&mut self, todo: &mut Vec<Action>) {
        match &mut self.tenure {
            None => todo.push(Action::Demoted),
            Some(tenure) => tenure.ends.get_or_insert_with(Ends::default).demoted = true,
        }
    }

    pub(super) fn detached(&mut self) {
        if let Some(tenure) = self.tenure.as_mut().filter(|tenure| tenure.device == Device::Leaving) {
            tenure.device = Device::None;
        }
    }

    /// Takes the next step of the way back. Until the device is away, writes may still wait for what is
    /// committed.
    pub(super) fn close(&mut self, todo: &mut Vec<Action>) {
        let Some(tenure) = &mut self.tenure else { return };
        let Some(ends) = &mut tenure.ends else { return };
        match tenure.device {
            Device::Asked | Device::Leaving => return,
            Device::There => {
                tenure.device = Device::Leaving;
                todo.push(Action::Detach);
                return;
            }
            Device::None => {}
        }
        if !ends.closing && !ends.closed {
            // What was asked before comes first, unless nobody knows what became of it.
            if self.asked.as_ref().is_some_and(|asked: &Asked| asked.answer == Answer::None) {
                return;
            }
            self.asked = None;
            ends.closing = true;
            todo.extend(self.peers.keys().map(|peer| Action::Disconnect { peer: peer.clone() }));
            let (open, failing) = (tenure.epoch, tenure.failing);
            match (open, &self.facts) {
                (Some(epoch), Some(_)) if !failing => {
                    let server = self.rules.me.clone();
                    self.propose(VolumeCommand::Close { server, epoch }, todo);
                    return;
                }
                _ => ends.closed = true,
            }
        }
        self.closed(todo);
    }

    fn closed(&mut self, todo: &mut Vec<Action>) {
        let Some(tenure) = &self.tenure else { return };
        let Some(ends) = &tenure.ends else { return };
        if !ends.closed && self.asked.is_some() {
            return;
        }
        if !tenure.promoted {
            todo.push(Action::Promoted(Err(ends.why.clone().unwrap_or(NotPromoted::Stopped))));
        }
        if ends.demoted {
            todo.push(Action::Demoted);
        }
        self.tenure = None;
        self.asked = None;
        self.storing = None;
        self.claimed.clear();
        self.peers.clear();
    }
}
