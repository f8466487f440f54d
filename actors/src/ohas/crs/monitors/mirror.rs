//! What the monitors of mirrored disks see: this server's copy (`mdw`), and the link between the
//! copies (`mdnw`). They ask the registry, and what is known of the volume on this server.

use std::sync::Arc;

use tasuki_core::{
    config::MonitorConfig,
    ids::{Revision, ServerName, VolumeName},
    mirror::{DiskState, LinkState, Role},
    registry::{State, mirror::Volume},
};
use tokio::time::timeout;

use super::look::Seen;
use crate::{
    context::Context,
    ohas::mirrors::MirrorsHandle,
    ports::volumes::{PeerView, VolumeView},
};

/// Waits while the copy is being opened, as it is when the node starts: how it is then is not known yet,
/// and what is said stands until the next look.
pub async fn settled(context: &Arc<Context>, config: &MonitorConfig) -> Result<(), Seen> {
    let Some(name) = volume(config) else { return Ok(()) };
    let mirrors = MirrorsHandle::new(context);
    let opening = || Seen::Doubtful("the copy here is still being opened".to_owned());
    timeout(config.timeout, mirrors.settled(&name)).await.map_err(|_| opening())
}

/// When what the registry has of the volume changed last: opened, up to date, left behind.
pub fn facts_of(registry: &State, config: &MonitorConfig) -> Option<Revision> {
    let name = volume(config).filter(|_| config.kind.is_of_mirror())?;
    registry.volumes.get(&name).map(|item| item.modified)
}

/// The state of this server's copy.
pub fn copy(context: &Arc<Context>, config: &MonitorConfig) -> Seen {
    let Some(name) = volume(config) else { return well() };
    let registry = context.state();
    let facts = registry.volumes.get(&name).map(|item| &item.value);
    judge_copy(facts, view(context, &name).as_ref(), context.me())
}

/// The link between the copies, seen from here.
pub fn link(context: &Arc<Context>, config: &MonitorConfig) -> Seen {
    let Some(name) = volume(config) else { return well() };
    let registry = context.state();
    let facts = registry.volumes.get(&name).map(|item| &item.value);
    let owner = facts.filter(|facts| registry.is_open(facts)).and_then(|facts| facts.owner.as_ref());
    judge_link(owner, view(context, &name).as_ref(), context.me())
}

fn view(context: &Arc<Context>, name: &VolumeName) -> Option<VolumeView> {
    MirrorsHandle::new(context).view(name)?.path
}

fn volume(config: &MonitorConfig) -> Option<VolumeName> {
    config.target.as_ref().map(|resource| VolumeName::new(resource.as_str()))
}

fn well() -> Seen {
    Seen::Judged(Ok(()))
}

fn bad(why: impl Into<String>) -> Seen {
    Seen::Judged(Err(why.into()))
}

fn judge_copy(facts: Option<&Volume>, view: Option<&VolumeView>, me: &ServerName) -> Seen {
    let Some(facts) = facts else { return Seen::Doubtful("never opened yet: it has no data".to_owned()) };
    let Some(view) = view else { return bad("the copy here could not be opened") };
    let target = |one: &&PeerView| matches!(one.link, LinkState::SyncTarget | LinkState::Paused);
    if let Some(source) = view.peers.iter().find(target).filter(|_| view.role == Role::Secondary) {
        let paused = if source.link == LinkState::Paused { ", paused" } else { "" };
        return Seen::Doubtful(format!("being brought up to date from {}{paused}", source.server));
    }
    match DiskState::of(view.disk, Some(facts.good.contains(me))) {
        DiskState::UpToDate => well(),
        other => bad(format!("the copy here is {other}")),
    }
}

fn judge_link(owner: Option<&ServerName>, view: Option<&VolumeView>, me: &ServerName) -> Seen {
    // Only who has it open calls the others: without one there is no link that could be lost.
    let Some(owner) = owner else { return well() };
    let Some(view) = view else { return bad("the copy here could not be opened") };
    if view.peers.is_empty() && owner != me {
        return bad(format!("{owner} has it open and is not connected"));
    }
    let lost = |link| matches!(link, LinkState::Disconnected | LinkState::Handshaking | LinkState::Diverged);
    let mut gone: Vec<&str> =
        view.peers.iter().filter(|one| lost(one.link)).map(|one| one.server.as_str()).collect();
    gone.sort_unstable();
    if gone.is_empty() { well() } else { bad(format!("no mirror connection with {}", gone.join(", "))) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tasuki_core::{
        ids::{Epoch, Generation},
        mirror::state::PeerMode,
    };

    use super::*;
    use crate::ports::volumes::VolumeCounters;

    fn facts(owner: Option<&str>, good: &[&str]) -> Volume {
        Volume {
            group: "db".into(),
            size: 1 << 30,
            epoch: Epoch(1),
            owner: owner.map(ServerName::new),
            good: good.iter().map(|name| ServerName::new(*name)).collect::<BTreeSet<_>>(),
            generation: Generation(1),
            forced: None,
            opened_by: None,
            compare: BTreeSet::new(),
        }
    }

    fn seen(role: Role, disk: DiskState, peer: Option<LinkState>) -> VolumeView {
        let mode = PeerMode::Required;
        let peer = peer.map(|link| PeerView { server: "kiki".into(), link, mode, dirty: 0, progress: None });
        VolumeView {
            role,
            disk,
            failed: None,
            size: 1 << 30,
            epoch: Epoch(1),
            generation: Generation(1),
            device: None,
            export: None,
            frozen: false,
            peers: peer.into_iter().collect(),
            counters: VolumeCounters::default(),
        }
    }

    #[test]
    fn c12_the_copy_is_normal_caution_while_it_is_copied_and_error_when_old_or_failed() {
        let lala = ServerName::new("lala");
        let both = facts(Some("kiki"), &["kiki", "lala"]);
        let one = facts(Some("kiki"), &["kiki"]);
        let fine = seen(Role::Secondary, DiskState::Consistent, Some(LinkState::Connected));
        assert_eq!(judge_copy(Some(&both), Some(&fine), &lala), well());
        let copied = seen(Role::Secondary, DiskState::Inconsistent, Some(LinkState::SyncTarget));
        assert!(matches!(judge_copy(Some(&one), Some(&copied), &lala), Seen::Doubtful(_)));
        let old = seen(Role::Secondary, DiskState::Consistent, None);
        assert_eq!(judge_copy(Some(&one), Some(&old), &lala), bad("the copy here is Outdated"));
        let failed = seen(Role::Secondary, DiskState::Failed, None);
        assert_eq!(judge_copy(Some(&one), Some(&failed), &lala), bad("the copy here is Failed"));
        assert!(matches!(judge_copy(None, Some(&old), &lala), Seen::Doubtful(_)));
    }

    #[test]
    fn c12_a_link_can_be_lost_only_while_somebody_has_the_volume_open() {
        let lala = ServerName::new("lala");
        let kiki = ServerName::new("kiki");
        let alone = seen(Role::Secondary, DiskState::Consistent, None);
        assert!(matches!(judge_link(Some(&kiki), Some(&alone), &lala), Seen::Judged(Err(_))));
        assert_eq!(judge_link(None, Some(&alone), &lala), well());
        let linked = seen(Role::Secondary, DiskState::Consistent, Some(LinkState::Connected));
        assert_eq!(judge_link(Some(&kiki), Some(&linked), &lala), well());
        let cut = seen(Role::Primary, DiskState::UpToDate, Some(LinkState::Disconnected));
        assert_eq!(judge_link(Some(&kiki), Some(&cut), &kiki), bad("no mirror connection with kiki"));
    }
}
