//! Mirrored volumes: who has one open, and whose copies are good (R25).

use std::collections::BTreeSet;

use super::Change;
use crate::{
    ids::{Epoch, Generation, GroupName, ServerName, VolumeName},
    registry::{
        Key, Refusal,
        mirror::{Forced, Volume, VolumeCommand},
    },
};

impl Change<'_> {
    pub(super) fn volume(&mut self, name: &VolumeName, command: &VolumeCommand) -> Result<(), Refusal> {
        match command {
            VolumeCommand::Form { group, size, good } => self.form_volume(name, group, *size, good),
            VolumeCommand::Open { server, group_epoch, epoch, without } => {
                self.open_volume(name, server, *group_epoch, *epoch, without)
            }
            VolumeCommand::Outdate { server, epoch, copies } => {
                let mut volume = self.opened(name, server, *epoch)?;
                self.without(name, &mut volume, copies)?;
                self.set_volume(name, volume);
                Ok(())
            }
            VolumeCommand::UpToDate { server, epoch, copy } => {
                let mut volume = self.opened(name, server, *epoch)?;
                volume.good.insert(copy.clone());
                self.set_volume(name, volume);
                Ok(())
            }
            VolumeCommand::Close { server, epoch } => {
                let mut volume = self.opened(name, server, *epoch)?;
                volume.owner = None;
                self.set_volume(name, volume);
                Ok(())
            }
            VolumeCommand::Force { server } => self.force_volume(name, server),
            VolumeCommand::Forget => {
                let volume = self.known(name)?;
                if let Some(owner) = volume.owner {
                    return Err(Refusal::VolumeOpen { volume: name.clone(), server: owner });
                }
                self.state.volumes.remove(name);
                self.touched(Key::Volume(name.clone()));
                Ok(())
            }
        }
    }

    fn known(&self, name: &VolumeName) -> Result<Volume, Refusal> {
        let known = self.state.volumes.get(name).map(|item| item.value.clone());
        known.ok_or_else(|| Refusal::NoSuchVolume(name.clone()))
    }

    /// The volume, if this server has it open under this epoch (R25).
    fn opened(&self, name: &VolumeName, server: &ServerName, epoch: Epoch) -> Result<Volume, Refusal> {
        let volume = self.known(name)?;
        if volume.epoch != epoch || volume.owner.as_ref() != Some(server) {
            let (volume, current) = (name.clone(), volume.epoch);
            return Err(Refusal::OtherVolumeEpoch { volume, named: epoch, current });
        }
        Ok(volume)
    }

    fn form_volume(
        &mut self,
        name: &VolumeName,
        group: &GroupName,
        size: u64,
        good: &BTreeSet<ServerName>,
    ) -> Result<(), Refusal> {
        self.group(group)?;
        if self.state.volumes.contains_key(name) || good.is_empty() {
            return Err(Refusal::VolumeKnown(name.clone()));
        }
        let volume = Volume {
            group: group.clone(),
            size,
            epoch: self.state.retired_epoch,
            owner: None,
            good: good.clone(),
            generation: Generation(1),
            forced: None,
        };
        self.set_volume(name, volume);
        Ok(())
    }

    fn open_volume(
        &mut self,
        name: &VolumeName,
        server: &ServerName,
        group_epoch: Epoch,
        epoch: Epoch,
        without: &BTreeSet<ServerName>,
    ) -> Result<(), Refusal> {
        let mut volume = self.known(name)?;
        let group = volume.group.clone();
        self.owned_by_at(&group, server, group_epoch)?;
        if epoch != volume.epoch.next() {
            let (volume, current) = (name.clone(), volume.epoch);
            return Err(Refusal::OtherVolumeEpoch { volume, named: epoch, current });
        }
        if !volume.good.contains(server) {
            return Err(Refusal::NotGood { volume: name.clone(), server: server.clone() });
        }
        volume.epoch = epoch;
        volume.owner = Some(server.clone());
        self.without(name, &mut volume, without)?;
        self.set_volume(name, volume);
        Ok(())
    }

    /// Takes copies out of the good ones, never the last, and begins a generation where one went.
    fn without(
        &self,
        name: &VolumeName,
        volume: &mut Volume,
        copies: &BTreeSet<ServerName>,
    ) -> Result<(), Refusal> {
        let left: BTreeSet<ServerName> = volume.good.difference(copies).cloned().collect();
        if left.is_empty() {
            return Err(Refusal::LastGood(name.clone()));
        }
        if left != volume.good {
            volume.good = left;
            volume.generation = volume.generation.next();
        }
        Ok(())
    }

    /// C20: only for a volume that nobody has open.
    fn force_volume(&mut self, name: &VolumeName, server: &ServerName) -> Result<(), Refusal> {
        let mut volume = self.known(name)?;
        if let Some(owner) = volume.owner {
            return Err(Refusal::VolumeOpen { volume: name.clone(), server: owner });
        }
        volume.generation = volume.generation.next();
        volume.forced = Some(Forced {
            server: server.clone(),
            instead_of: volume.good.clone(),
            generation: volume.generation,
            at: self.at,
        });
        volume.good = BTreeSet::from([server.clone()]);
        self.set_volume(name, volume);
        Ok(())
    }

    fn set_volume(&mut self, name: &VolumeName, volume: Volume) {
        if self.state.volumes.get(name).is_none_or(|known| known.value != volume) {
            let item = self.renewed(volume, Key::Volume(name.clone()), |s| s.volumes.get(name));
            self.state.volumes.insert(name.clone(), item);
        }
    }
}
