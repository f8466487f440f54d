//! Mirrored volumes: who has one open, and whose copies are good (R25).
//!
//! A command that is accepted always moves the volume's revision, also where it changes nothing: a
//! command that was decided on the facts before it, and comes later, is then refused (R26).

use std::collections::BTreeSet;

use super::Change;
use crate::{
    config::ClusterConfig,
    ids::{Epoch, Generation, GroupName, Revision, ServerName, VolumeName},
    mirror::lapse::{self, Lapse},
    registry::{
        Key, Refusal,
        mirror::{Forced, Volume, VolumeCommand, configured_volume},
    },
};

impl Change<'_> {
    /// `read`: what the command was decided on. All but an operator's words name the volume's revision.
    pub(super) fn volume(
        &mut self,
        name: &VolumeName,
        command: &VolumeCommand,
        read: &[(Key, Revision)],
    ) -> Result<(), Refusal> {
        let key = Key::Volume(name.clone());
        let by_hand = matches!(command, VolumeCommand::Force { .. } | VolumeCommand::Forget);
        let names_it = read.iter().any(|(named, _)| *named == key);
        let lapsed = lapse::is(Lapse::OlderFacts) || lapse::is(Lapse::AnyEpoch);
        if !by_hand && !names_it && !lapsed {
            let now = self.state.revision_of(&key);
            return Err(Refusal::MovedOn { key, then: Revision(0), now });
        }
        let volume = match command {
            VolumeCommand::Form { group, server, group_epoch, size, good } => {
                self.owned_by_at(group, server, *group_epoch)?;
                self.formed(name, group, *size, good)?
            }
            VolumeCommand::Open { server, group_epoch, epoch, without } => {
                self.open_by(name, server, *group_epoch, *epoch, without)?
            }
            VolumeCommand::Outdate { server, epoch, copies } => {
                let mut volume = self.opened(name, server, *epoch)?;
                without(name, &mut volume, copies)?;
                volume
            }
            VolumeCommand::UpToDate { server, epoch, copy } => self.up_to_date(name, server, *epoch, copy)?,
            VolumeCommand::Resize { server, epoch, size } => {
                let mut volume = self.opened(name, server, *epoch)?;
                volume.size = volume.size.max(*size);
                volume
            }
            VolumeCommand::Close { server, epoch } => {
                let mut volume = self.opened(name, server, *epoch)?;
                volume.owner = None;
                volume
            }
            VolumeCommand::Force { server } => self.forced(name, server)?,
            VolumeCommand::Forget => {
                self.not_open(name, &self.known(name)?)?;
                self.forget_volume(name);
                return Ok(());
            }
        };
        self.set_volume(name, volume);
        self.follow_configuration();
        Ok(())
    }

    fn known(&self, name: &VolumeName) -> Result<Volume, Refusal> {
        let known = self.state.volumes.get(name).map(|item| item.value.clone());
        known.ok_or_else(|| Refusal::NoSuchVolume(name.clone()))
    }

    /// The volume, if this server has it open under this epoch (R25).
    fn opened(&self, name: &VolumeName, server: &ServerName, epoch: Epoch) -> Result<Volume, Refusal> {
        let volume = self.known(name)?;
        let is_theirs = volume.epoch == epoch && volume.owner.as_ref() == Some(server);
        if !is_theirs && !lapse::is(Lapse::AnyEpoch) {
            let (volume, current) = (name.clone(), volume.epoch);
            return Err(Refusal::OtherVolumeEpoch { volume, named: epoch, current });
        }
        Ok(volume)
    }

    /// The servers that keep a copy, as configured now.
    fn copies(&self, name: &VolumeName) -> BTreeSet<ServerName> {
        let groups = self.state.groups.iter();
        let configs = groups.filter_map(|(group, entry)| Some((group, &entry.config.as_ref()?.value)));
        configured_volume(configs, name).map(|(_, servers)| servers).unwrap_or_default()
    }

    fn formed(
        &self,
        name: &VolumeName,
        group: &GroupName,
        size: u64,
        good: &BTreeSet<ServerName>,
    ) -> Result<Volume, Refusal> {
        let copies = self.copies(name);
        if copies.is_empty() {
            return Err(Refusal::NoSuchVolume(name.clone()));
        }
        if self.state.volumes.contains_key(name) {
            return Err(Refusal::VolumeKnown(name.clone()));
        }
        let good: BTreeSet<ServerName> = good.intersection(&copies).cloned().collect();
        if good.is_empty() {
            return Err(Refusal::LastGood(name.clone()));
        }
        Ok(Volume {
            group: group.clone(),
            size,
            epoch: self.state.retired_epoch,
            owner: None,
            opened_by: None,
            good,
            generation: Generation(1),
            compare: BTreeSet::new(),
            forced: None,
        })
    }

    fn open_by(
        &self,
        name: &VolumeName,
        server: &ServerName,
        group_epoch: Epoch,
        epoch: Epoch,
        away: &BTreeSet<ServerName>,
    ) -> Result<Volume, Refusal> {
        let mut volume = self.known(name)?;
        self.owned_by_at(&volume.group, server, group_epoch)?;
        if epoch != volume.epoch.next() {
            let (volume, current) = (name.clone(), volume.epoch);
            return Err(Refusal::OtherVolumeEpoch { volume, named: epoch, current });
        }
        if !volume.good.contains(server) && !lapse::is(Lapse::AnyCopy) {
            return Err(Refusal::NotGood { volume: name.clone(), server: server.clone() });
        }
        if lapse::is(Lapse::AnyCopy) {
            volume.good.insert(server.clone());
        }
        let mut gone = away.clone();
        if let Some(crashed) = volume.owner.as_ref().filter(|owner| *owner != server) {
            // What was under way when it crashed is named by its log alone. A third copy may have it
            // where this one has not, or the other way round.
            let thirds = volume.good.iter().filter(|copy| *copy != crashed && *copy != server);
            let thirds: BTreeSet<ServerName> = thirds.cloned().collect();
            if !lapse::is(Lapse::NotCompared) {
                volume.compare.extend(thirds.iter().cloned());
                gone.extend(thirds);
            }
        }
        let copies = self.copies(name);
        if volume.opened_by.as_ref().is_some_and(|last| last != server) && copies.len() > 2 {
            // What those that are not good lack was recorded by somebody else.
            let others = copies.into_iter().filter(|copy| copy != server && !volume.good.contains(copy));
            volume.compare.extend(others.collect::<Vec<_>>());
        }
        (volume.epoch, volume.owner, volume.opened_by) = (epoch, Some(server.clone()), Some(server.clone()));
        without(name, &mut volume, &gone)?;
        Ok(volume)
    }

    /// Adds the target of a resync from a good copy, or the owner's own disk that is back.
    fn up_to_date(
        &self,
        name: &VolumeName,
        server: &ServerName,
        epoch: Epoch,
        copy: &ServerName,
    ) -> Result<Volume, Refusal> {
        let mut volume = self.opened(name, server, epoch)?;
        if copy != server && !volume.good.contains(server) {
            return Err(Refusal::NotGood { volume: name.clone(), server: server.clone() });
        }
        if !self.copies(name).contains(copy) {
            return Err(Refusal::NotAllowed { group: volume.group, server: copy.clone() });
        }
        volume.good.insert(copy.clone());
        volume.compare.remove(copy);
        Ok(volume)
    }

    /// C20: only for a volume that nobody has open.
    fn forced(&self, name: &VolumeName, server: &ServerName) -> Result<Volume, Refusal> {
        let mut volume = self.known(name)?;
        self.not_open(name, &volume)?;
        let copies = self.copies(name);
        if !copies.contains(server) {
            return Err(Refusal::NotAllowed { group: volume.group, server: server.clone() });
        }
        volume.generation = volume.generation.next();
        volume.forced = Some(Forced {
            server: server.clone(),
            instead_of: volume.good.clone(),
            generation: volume.generation,
            at: self.at,
        });
        volume.good = BTreeSet::from([server.clone()]);
        volume.owner = None;
        if copies.len() > 2 {
            volume.compare.extend(copies.into_iter().filter(|copy| copy != server));
        }
        Ok(volume)
    }

    fn not_open(&self, name: &VolumeName, volume: &Volume) -> Result<(), Refusal> {
        match &volume.owner {
            Some(server) if self.state.is_open(volume) => {
                Err(Refusal::VolumeOpen { volume: name.clone(), server: server.clone() })
            }
            _ => Ok(()),
        }
    }

    /// A configuration may not take away the servers of all good copies of a volume that it keeps.
    pub(super) fn keeps_good_copies(&self, config: &ClusterConfig) -> Result<(), Refusal> {
        for (name, item) in &self.state.volumes {
            if let Some((_, servers)) = configured_volume(config.groups.iter(), name)
                && servers.is_disjoint(&item.value.good)
            {
                return Err(Refusal::LastGood(name.clone()));
            }
        }
        Ok(())
    }

    /// Facts of volumes that are configured no more, or on other servers. What is open stays as it is
    /// until it is closed.
    pub(super) fn follow_configuration(&mut self) {
        let names: Vec<VolumeName> = self.state.volumes.keys().cloned().collect();
        for name in names {
            let Ok(mut volume) = self.known(&name) else { continue };
            let is_open = self.state.is_open(&volume);
            let groups = self.state.groups.iter();
            let configs = groups.filter_map(|(group, entry)| Some((group, &entry.config.as_ref()?.value)));
            let Some((group, servers)) = configured_volume(configs, &name) else {
                if !is_open {
                    self.forget_volume(&name);
                }
                continue;
            };
            let group = group.clone();
            if !is_open {
                volume.group = group;
            }
            let owner = volume.owner.clone().filter(|_| is_open);
            let stays = |copy: &&ServerName| servers.contains(*copy) || owner.as_ref() == Some(*copy);
            let good: BTreeSet<ServerName> = volume.good.iter().filter(stays).cloned().collect();
            if good != volume.good && !good.is_empty() {
                volume.generation = volume.generation.next();
                // Nobody records what it lacks from here on.
                volume.compare.extend(volume.good.difference(&good).cloned().collect::<Vec<_>>());
                volume.good = good;
            }
            if self.state.volumes.get(&name).is_some_and(|known| known.value != volume) {
                self.set_volume(&name, volume);
            }
        }
    }

    /// Its epochs are not used again, so that what an old owner still carries stays older (R35).
    fn forget_volume(&mut self, name: &VolumeName) {
        if let Some(item) = self.state.volumes.remove(name) {
            self.state.retired_epoch = self.state.retired_epoch.max(item.value.epoch);
            self.touched(Key::Volume(name.clone()));
        }
    }

    fn set_volume(&mut self, name: &VolumeName, volume: Volume) {
        let item = self.renewed(volume, Key::Volume(name.clone()), |state| state.volumes.get(name));
        self.state.volumes.insert(name.clone(), item);
    }
}

/// Takes copies out of the good ones, never the last, and begins a generation where one went.
fn without(name: &VolumeName, volume: &mut Volume, copies: &BTreeSet<ServerName>) -> Result<(), Refusal> {
    let left: BTreeSet<ServerName> = volume.good.difference(copies).cloned().collect();
    if left.is_empty() && !lapse::is(Lapse::NoneGood) {
        return Err(Refusal::LastGood(name.clone()));
    }
    if left != volume.good {
        volume.good = left;
        volume.generation = volume.generation.next();
    }
    Ok(())
}
