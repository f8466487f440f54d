//! R25: who may say what of a mirrored volume.

use std::collections::BTreeSet;

use super::*;
use crate::{
    config::MirrorDiskConfig,
    ids::{Generation, VolumeName},
    registry::mirror::{Volume, VolumeCommand},
};

fn data() -> VolumeName {
    "data".into()
}

fn set(names: &[&str]) -> BTreeSet<ServerName> {
    names.iter().map(|name| ServerName::from(*name)).collect()
}

impl Play {
    /// `web` has the volume `data`, open on kiki under epoch 1, good on kiki and lala.
    fn data_on_kiki() -> Self {
        let mut play = Self::web_on_kiki();
        let disk = MirrorDiskConfig::of("/dev/sdb2".into(), "/dev/sdb1".into());
        let disk = ResourceConfig::of(ResourceKind::MirrorDisk(disk));
        play.configure_web(|web| drop(web.resources.insert("data".into(), disk)));
        let (group, server, group_epoch) = (web(), ServerName::from("kiki"), Epoch(1));
        play.volume(VolumeCommand::Form {
            group,
            server: server.clone(),
            group_epoch,
            size: 4096,
            good: set(&["kiki", "lala"]),
        })
        .unwrap();
        play.volume(VolumeCommand::Open { server, group_epoch, epoch: Epoch(1), without: set(&[]) }).unwrap();
        play
    }

    /// Says it, decided on the volume as it is now.
    fn volume(&mut self, command: VolumeCommand) -> Result<(), Refusal> {
        let now = self.revision_of(&Key::Volume(data()));
        self.volume_read_at(now, command)
    }

    fn volume_read_at(&mut self, read: Revision, command: VolumeCommand) -> Result<(), Refusal> {
        let before = self.state.clone();
        let mut said = proposal(&self.state, Command::Volume { volume: data(), command });
        said.read = vec![(Key::Volume(data()), read)];
        match apply(&mut self.state, &said) {
            Reply::Applied { .. } => Ok(()),
            Reply::Refused(why) => {
                assert_eq!(self.state, before, "a refusal changes nothing");
                Err(why)
            }
        }
    }

    fn volume_facts(&self) -> &Volume {
        &self.state.volumes[&data()].value
    }
}

fn outdate(copies: &[&str]) -> VolumeCommand {
    VolumeCommand::Outdate { server: "kiki".into(), epoch: Epoch(1), copies: set(copies) }
}

fn up_to_date(copy: &str) -> VolumeCommand {
    VolumeCommand::UpToDate { server: "kiki".into(), epoch: Epoch(1), copy: copy.into() }
}

#[test]
fn r25_a_command_that_was_decided_on_older_facts_is_refused() {
    let mut play = Play::data_on_kiki();
    let before = play.revision_of(&Key::Volume(data()));
    play.volume(outdate(&["lala"])).unwrap();
    let late = play.volume_read_at(before, up_to_date("lala"));
    assert!(matches!(late, Err(Refusal::MovedOn { .. })), "{late:?}");
    // One that names no facts at all is none of an owner's.
    let unread = play.refused(Command::Volume { volume: data(), command: up_to_date("lala") });
    assert!(matches!(unread, Refusal::MovedOn { .. }), "{unread:?}");
}

#[test]
fn r26_outdated_moves_the_revision_even_where_it_changes_nothing() {
    let mut play = Play::data_on_kiki();
    play.volume(outdate(&["lala"])).unwrap();
    let before = play.revision_of(&Key::Volume(data()));
    play.volume(outdate(&["lala"])).unwrap();
    assert!(play.revision_of(&Key::Volume(data())) > before);
    assert_eq!(play.volume_facts().generation, Generation(2), "no copy went");
}

#[test]
fn r25_outdated_only_removes_and_never_the_last() {
    let mut play = Play::data_on_kiki();
    assert_eq!(play.volume(outdate(&["kiki", "lala"])), Err(Refusal::LastGood(data())));
    play.volume(outdate(&["lala", "momo"])).unwrap();
    assert_eq!(
        (play.volume_facts().good.clone(), play.volume_facts().generation),
        (set(&["kiki"]), Generation(2))
    );
    assert_eq!(play.volume(outdate(&["kiki"])), Err(Refusal::LastGood(data())));
}

#[test]
fn r25_only_the_owner_of_the_epoch_speaks() {
    let mut play = Play::data_on_kiki();
    let by_lala = VolumeCommand::Outdate { server: "lala".into(), epoch: Epoch(1), copies: set(&["kiki"]) };
    assert!(matches!(play.volume(by_lala), Err(Refusal::OtherVolumeEpoch { .. })));
    let (server, group_epoch) = (ServerName::from("kiki"), Epoch(1));
    let again = VolumeCommand::Open { server, group_epoch, epoch: Epoch(2), without: set(&[]) };
    play.volume(again).unwrap();
    assert!(matches!(play.volume(outdate(&["lala"])), Err(Refusal::OtherVolumeEpoch { .. })));
    let open = VolumeCommand::Open {
        server: "lala".into(),
        group_epoch: Epoch(1),
        epoch: Epoch(3),
        without: set(&[]),
    };
    assert!(matches!(play.volume(open), Err(Refusal::NotOwner { .. })), "lala does not own the group");
}

#[test]
fn r25_up_to_date_adds_only_what_a_good_copy_was_copied_to() {
    let mut play = Play::data_on_kiki();
    assert!(matches!(play.volume(up_to_date("momo")), Err(Refusal::NotAllowed { .. })), "momo keeps no copy");
    play.volume(outdate(&["kiki"])).unwrap(); // its disk has failed
    assert!(matches!(play.volume(up_to_date("lala")), Err(Refusal::NotGood { .. })));
    play.volume(up_to_date("kiki")).unwrap();
    assert_eq!(play.volume_facts().good, set(&["kiki", "lala"]));
}

#[test]
fn t2_only_a_good_copy_is_opened_or_given_the_group() {
    let mut play = Play::data_on_kiki();
    play.volume(outdate(&["lala"])).unwrap();
    play.ok(gone("kiki", 1));
    let refused = play.refused(assign("web", "lala", 2));
    assert_eq!(refused, Refusal::NotGood { volume: data(), server: "lala".into() });
}

#[test]
fn c20_force_needs_a_volume_that_nobody_can_have_open() {
    let mut play = Play::data_on_kiki();
    play.volume(outdate(&["lala"])).unwrap();
    let force = Command::Volume { volume: data(), command: VolumeCommand::Force { server: "lala".into() } };
    assert!(matches!(play.refused(force.clone()), Refusal::VolumeOpen { .. }));
    play.ok(gone("kiki", 1)); // it never closed it
    play.ok(force);
    let forced = play.volume_facts().forced.clone().unwrap();
    assert_eq!((forced.server.as_str(), forced.instead_of), ("lala", set(&["kiki"])));
    assert_eq!(
        (play.volume_facts().good.clone(), play.volume_facts().generation),
        (set(&["lala"]), Generation(3))
    );
    play.assign("web", "lala", 2);
}

#[test]
fn facts_are_forgotten_when_the_volume_is_configured_no_more_and_is_closed() {
    let mut play = Play::data_on_kiki();
    play.configure_web(|web| drop(web.resources.remove(&"data".into())));
    assert!(play.state.volumes.contains_key(&data()), "it is open");
    play.volume(VolumeCommand::Close { server: "kiki".into(), epoch: Epoch(1) }).unwrap();
    assert!(!play.state.volumes.contains_key(&data()));
    assert!(play.state.retired_epoch >= Epoch(1), "its epochs are not used again");
}

#[test]
fn a_configuration_does_not_take_the_only_good_copy_away() {
    let mut play = Play::data_on_kiki();
    play.volume(outdate(&["lala"])).unwrap();
    let mut config = play.state.config().unwrap();
    config.groups.get_mut(&web()).unwrap().servers = vec!["lala".into()];
    assert_eq!(play.refused(Command::SetConfig { config }), Refusal::LastGood(data()));
    play.volume(up_to_date("lala")).unwrap();
    play.volume(VolumeCommand::Close { server: "kiki".into(), epoch: Epoch(1) }).unwrap();
    play.configure_web(|web| web.servers = vec!["lala".into()]);
    assert_eq!(play.volume_facts().good, set(&["lala"]));
    assert_eq!(play.volume_facts().compare, set(&["kiki"]), "nobody records what it lacks from here on");
}
