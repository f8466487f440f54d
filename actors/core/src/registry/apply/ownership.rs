//! Who runs a group: assigned, asked to release, released (R13).

use super::Change;
use crate::{
    config::FinalAction,
    ids::{Epoch, GroupName, ResourceName, ServerName},
    planted::{self, Planted},
    reason::Reason,
    registry::{
        Proposal, Refusal,
        command::Charge,
        state::{AfterStop, Assigned, ServerMode, StartEvent, Vacate},
    },
};

impl Change<'_> {
    pub(super) fn assign(
        &mut self,
        group: &GroupName,
        server: &ServerName,
        epoch: Epoch,
        event: StartEvent,
        proposal: &Proposal,
    ) -> Result<(), Refusal> {
        let ownership = &self.group(group)?.ownership.value;
        // R13: a new owner only after an applied release of the old one, or its end.
        if let Some(owner) = &ownership.owner {
            return Err(Refusal::StillOwned { group: group.clone(), owner: owner.clone() });
        }
        if epoch != ownership.epoch.next() {
            return Err(Refusal::OtherEpoch { group: group.clone(), named: epoch, current: ownership.epoch });
        }
        self.may_run(group, server)?;
        let assigned = Assigned {
            reason: proposal.reason.clone().unwrap_or(Reason::StillWanted),
            event,
            at: proposal.at,
        };
        self.change_ownership(group, |o| {
            o.epoch = epoch;
            o.owner = Some(server.clone());
            o.assigned = Some(assigned);
            o.release = None;
            o.vacated = None;
        });
        Ok(())
    }

    pub(super) fn release(
        &mut self,
        group: &GroupName,
        epoch: Epoch,
        to: Option<&ServerName>,
        event: StartEvent,
        charge: Option<&Charge>,
        reason: Option<&Reason>,
    ) -> Result<(), Refusal> {
        let owner = self.owner_at(group, epoch)?;
        if self.group(group)?.ownership.value.release.is_some() {
            return Err(Refusal::Busy(group.clone()));
        }
        if let Some(charge) = charge {
            self.change_failures(group, |f| match charge {
                Charge::Resource(resource) => f.of_mut(resource, &owner).failovers += 1,
                Charge::Monitor(monitor) => f.of_monitor_mut(monitor, &owner).failovers += 1,
            });
        }
        let reason = reason.cloned().unwrap_or(Reason::StillWanted);
        let release = Vacate { to: to.cloned(), reason, event };
        self.change_ownership(group, |o| o.release = Some(release));
        if planted::is(Planted::WishIsRelease) {
            return self.released(group, epoch, &owner);
        }
        Ok(())
    }

    pub(super) fn released(
        &mut self,
        group: &GroupName,
        epoch: Epoch,
        server: &ServerName,
    ) -> Result<(), Refusal> {
        self.owned_by_at(group, server, epoch)?;
        self.note_released(group);
        self.change_ownership(group, |o| {
            o.previous = o.owner.take();
            o.assigned = None;
            o.vacated = o.release.take();
        });
        Ok(())
    }

    /// The server has provably ended: nobody owns what it owned.
    pub(super) fn vacate_all_of(&mut self, server: &ServerName, reason: &Reason) {
        let groups: Vec<GroupName> = self.state.owned_by(server).map(|(name, _)| name.clone()).collect();
        for group in groups {
            self.note_lost(&group);
            self.change_ownership(&group, |o| {
                o.previous = o.owner.take();
                o.assigned = None;
                // A wish to move that was under way keeps its destination.
                o.vacated = Some(o.release.take().unwrap_or_else(|| Vacate {
                    to: None,
                    reason: reason.clone(),
                    event: StartEvent::Failover,
                }));
            });
        }
    }

    /// The last rung of the recovery ladder.
    pub(super) fn finally(
        &mut self,
        group: &GroupName,
        epoch: Epoch,
        resource: &ResourceName,
        action: FinalAction,
    ) -> Result<(), Refusal> {
        let owner = self.owner_at(group, epoch)?;
        self.change_failures(group, |f| {
            f.of_mut(resource, &owner); // shown, even when nothing was counted
        });
        let after = match action {
            FinalAction::None => None,
            FinalAction::Stop => Some(AfterStop::Nothing),
            FinalAction::StopAndReboot => Some(AfterStop::Reboot),
            FinalAction::Reset => Some(AfterStop::Reset),
            FinalAction::StopAndPowerOff => Some(AfterStop::PowerOff),
        };
        if let Some(after) = after {
            self.change_presence(&owner, |p| p.mode = ServerMode::Leaving(after));
        }
        Ok(())
    }
}
