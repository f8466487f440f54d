//! What operators want of a group, and the leader in their place: to start what is needed.

use super::Change;
use crate::{
    ids::{GroupName, ServerName},
    placement::dependency::{stopped_by, stopped_by_move},
    reason::Reason,
    registry::{
        Author, Proposal, Refusal,
        command::ModeWord,
        state::{ClusterMode, Failures, GroupState, StartEvent, Target, Vacate},
    },
};

impl Change<'_> {
    /// The leader starts what others need (it says why), and neither mends what has failed nor
    /// forgives it: that is for operators.
    pub(super) fn start_group(
        &mut self,
        group: &GroupName,
        on: Option<&ServerName>,
        proposal: &Proposal,
    ) -> Result<(), Refusal> {
        let by_leader = matches!(proposal.author, Author::Leader(_));
        let entry = self.group(group)?;
        if let Some(owner) = &entry.ownership.value.owner {
            let failed = entry.report.as_ref().is_some_and(|r| r.value.state == GroupState::Error);
            if entry.ownership.value.release.is_some() {
                return Err(Refusal::Busy(group.clone()));
            }
            if by_leader || !failed || on.is_some_and(|on| on != owner) {
                return Err(Refusal::AlreadyRuns { group: group.clone(), server: owner.clone() });
            }
        }
        self.enabled(group)?;
        if let Some(server) = on {
            self.may_run(group, server)?;
        }
        self.running()?;
        let reason = if by_leader {
            proposal.reason.clone().unwrap_or(Reason::StillWanted)
        } else {
            Reason::OperatorStarted { by: proposal.author.to_string() }
        };
        let start = Vacate { to: on.cloned(), reason, event: StartEvent::Start };
        self.change_target(group, Target::Online);
        if !by_leader {
            self.change_failures(group, |f| *f = Failures::default());
        }
        self.change_ownership(group, |o| {
            // A group in Error is released first, so that it starts again from its first resource.
            if o.owner.is_some() { o.release = Some(start) } else { o.vacated = Some(start) }
        });
        Ok(())
    }

    pub(super) fn stop_group(
        &mut self,
        group: &GroupName,
        force: bool,
        proposal: &Proposal,
    ) -> Result<(), Refusal> {
        let entry = self.group(group)?;
        let owned = entry.ownership.value.owner.is_some();
        if entry.target.value == Target::Offline && !owned {
            return Err(Refusal::NotRunning(group.clone()));
        }
        if owned && !force {
            alone(group, stopped_by(self.state, group))?;
        }
        let reason = Reason::OperatorStopped { by: proposal.author.to_string() };
        self.change_target(group, Target::Offline);
        self.change_ownership(group, |o| {
            let stop = Vacate { to: None, reason, event: StartEvent::Start };
            if o.owner.is_some() { o.release = Some(stop) } else { o.vacated = Some(stop) }
        });
        Ok(())
    }

    pub(super) fn move_group(
        &mut self,
        group: &GroupName,
        to: Option<&ServerName>,
        force: bool,
        proposal: &Proposal,
    ) -> Result<(), Refusal> {
        let ownership = &self.group(group)?.ownership.value;
        let Some(owner) = ownership.owner.clone() else {
            return Err(Refusal::NotRunning(group.clone()));
        };
        if ownership.release.is_some() {
            return Err(Refusal::Busy(group.clone()));
        }
        let to = match to {
            Some(to) if *to == owner => {
                return Err(Refusal::AlreadyRuns { group: group.clone(), server: owner });
            }
            Some(to) => {
                self.may_run(group, to)?;
                to.clone()
            }
            None => self.next_server(group, &owner, force)?,
        };
        self.running()?;
        if !force {
            alone(group, stopped_by_move(self.state, group, &to))?;
        }
        let reason = Reason::OperatorMoved { by: proposal.author.to_string() };
        self.change_ownership(group, |o| {
            o.release = Some(Vacate { to: Some(to), reason, event: StartEvent::Start });
        });
        Ok(())
    }

    /// Where a group goes when nobody chose: the next allowed server, rather one that what depends
    /// on the group can follow to.
    fn next_server(&self, group: &GroupName, owner: &ServerName, force: bool) -> Result<ServerName, Refusal> {
        let listed = self.group(group)?.config.as_ref().map(|c| c.value.servers.clone()).unwrap_or_default();
        let able: Vec<ServerName> = listed
            .into_iter()
            .filter(|server| server != owner && self.may_run(group, server).is_ok())
            .collect();
        let follow = |server: &&ServerName| force || stopped_by_move(self.state, group, server).is_empty();
        let chosen = able.iter().find(follow).or_else(|| able.first());
        chosen.cloned().ok_or_else(|| Refusal::NowhereToGo(group.clone()))
    }

    pub(super) fn reset_failures(&mut self, group: &GroupName) -> Result<(), Refusal> {
        self.group(group)?;
        self.change_failures(group, |f| *f = Failures::default());
        Ok(())
    }

    fn running(&self) -> Result<(), Refusal> {
        match self.state.cluster_mode() {
            ClusterMode::Running => Ok(()),
            mode => Err(Refusal::WrongMode(ModeWord(mode))),
        }
    }
}

/// Refuses what would take others with it.
fn alone(group: &GroupName, dependents: Vec<GroupName>) -> Result<(), Refusal> {
    if dependents.is_empty() {
        Ok(())
    } else {
        Err(Refusal::StopsOthers { group: group.clone(), dependents })
    }
}
