//! What is asked before anything is written.

use super::Change;
use crate::{
    config::{Exclusive, GroupConfig},
    ids::{Epoch, GroupName, Incarnation, ServerName},
    membership::fencing::is_withheld,
    mirror::lapse::{self, Lapse},
    placement::pools::pool_of,
    planted::{self, Planted},
    registry::{
        Refusal,
        mirror::volumes_of,
        state::{GroupEntry, Presence, ServerMode},
    },
};

impl Change<'_> {
    pub(super) fn group(&self, group: &GroupName) -> Result<&GroupEntry, Refusal> {
        self.state.groups.get(group).ok_or_else(|| Refusal::NoSuchGroup(group.clone()))
    }

    pub(super) fn presence(&self, server: &ServerName) -> Result<&Presence, Refusal> {
        let entry = self.state.servers.get(server);
        let entry = entry.ok_or_else(|| Refusal::NoSuchServer(server.clone()))?;
        entry.presence.as_ref().map(|p| &p.value).ok_or_else(|| Refusal::NotJoined(server.clone()))
    }

    /// R5: "gone" and "stopped" are refused for any but the current incarnation.
    pub(super) fn current_incarnation(&self, server: &ServerName, named: Incarnation) -> Result<(), Refusal> {
        let presence = self.presence(server)?;
        if presence.incarnation != named {
            let current = presence.incarnation;
            return Err(Refusal::OtherIncarnation { server: server.clone(), named, current });
        }
        if !presence.up {
            return Err(Refusal::ServerDown(server.clone()));
        }
        Ok(())
    }

    /// Whether a server could be given a group now: configured for it, up, staying, in one of its
    /// pools, and not shared with what does not share. Dependencies are for the decision alone.
    pub(super) fn may_run(&self, group: &GroupName, server: &ServerName) -> Result<(), Refusal> {
        let not_allowed = || Refusal::NotAllowed { group: group.clone(), server: server.clone() };
        let config = &self.group(group)?.config.as_ref().ok_or_else(not_allowed)?.value;
        if !self.state.servers.contains_key(server) {
            return Err(Refusal::NoSuchServer(server.clone()));
        }
        if !config.servers.contains(server) {
            return Err(not_allowed());
        }
        let presence = self.presence(server)?;
        if !presence.up || presence.mode != ServerMode::Active {
            return Err(Refusal::ServerDown(server.clone()));
        }
        // R12: not fenced. Until its devices have let it in again it may reach nothing.
        if is_withheld(self.state, server) {
            return Err(Refusal::StillFenced(server.clone()));
        }
        self.enabled(group)?;
        if !config.pools.is_empty() && !config.pools.contains(&pool_of(self.state, server)) {
            return Err(Refusal::NotInPool { group: group.clone(), server: server.clone() });
        }
        // T2, C20: only where every mirrored volume is good.
        let bad = volumes_of(config).find(|volume| {
            self.state.volumes.get(volume).is_some_and(|facts| !facts.value.good.contains(server))
        });
        if let Some(volume) = bad.filter(|_| !lapse::is(Lapse::AnyCopy)) {
            return Err(Refusal::NotGood { volume, server: server.clone() });
        }
        match self.does_not_share(group, config, server) {
            Some(other) => {
                Err(Refusal::Exclusive { group: group.clone(), server: server.clone(), other: other.clone() })
            }
            None => Ok(()),
        }
    }

    /// The group on a server with which this one may not share it: both are exclusive, and one of
    /// them completely.
    fn does_not_share(
        &self,
        group: &GroupName,
        config: &GroupConfig,
        server: &ServerName,
    ) -> Option<&GroupName> {
        if config.exclusive == Exclusive::No {
            return None;
        }
        let of = |entry: &GroupEntry| entry.config.as_ref().map_or(Exclusive::No, |c| c.value.exclusive);
        let clashes = |entry: &GroupEntry| match of(entry) {
            Exclusive::No => false,
            Exclusive::Normal => config.exclusive == Exclusive::Complete,
            Exclusive::Complete => true,
        };
        let mut there = self.state.groups.iter();
        let found = there.find(|(name, entry)| {
            *name != group && entry.ownership.value.owner.as_ref() == Some(server) && clashes(entry)
        });
        found.map(|(name, _)| name)
    }

    /// Whether anything may start a group.
    pub(super) fn enabled(&self, group: &GroupName) -> Result<(), Refusal> {
        let config = self.group(group)?.config.as_ref();
        if config.is_some_and(|config| !config.value.enabled) {
            return Err(Refusal::Disabled(group.clone()));
        }
        Ok(())
    }

    pub(super) fn owner_at(&self, group: &GroupName, epoch: Epoch) -> Result<ServerName, Refusal> {
        let ownership = &self.group(group)?.ownership.value;
        if ownership.epoch != epoch && !planted::is(Planted::NoEpoch) {
            let current = ownership.epoch;
            return Err(Refusal::OtherEpoch { group: group.clone(), named: epoch, current });
        }
        ownership.owner.clone().ok_or_else(|| Refusal::NotRunning(group.clone()))
    }

    pub(super) fn owned_by_at(
        &self,
        group: &GroupName,
        server: &ServerName,
        epoch: Epoch,
    ) -> Result<(), Refusal> {
        if self.owner_at(group, epoch)? == *server {
            Ok(())
        } else {
            Err(Refusal::NotOwner { group: group.clone(), server: server.clone() })
        }
    }
}
