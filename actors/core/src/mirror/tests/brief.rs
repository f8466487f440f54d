//! Events and actions in few words, for traces and stories.

use std::collections::BTreeSet;

use crate::{
    ids::ServerName,
    mirror::{
        handshake::Welcome,
        state::{Action, Event, Note, Outcome, PeerMode, Wish},
    },
    registry::mirror::Volume,
};

fn list(servers: &BTreeSet<ServerName>) -> String {
    servers.iter().map(ServerName::as_str).collect::<Vec<_>>().join(", ")
}

fn facts(volume: &Volume) -> String {
    let owner = volume.owner.as_ref().map_or("nobody", ServerName::as_str);
    let (epoch, generation) = (volume.epoch, volume.generation);
    format!("open on {owner}, epoch {epoch}, generation {generation}, good: {}", list(&volume.good))
}

fn met(welcome: &Welcome, differing: u64) -> String {
    let (who, copy) = (&welcome.server, &welcome.copy);
    let (disk, generation) = (copy.disk, copy.history.generation());
    let theirs = welcome.differing;
    format!("met {who}: {disk}, generation {generation}, {differing} differ here and {theirs} there")
}

fn mode(mode: PeerMode) -> String {
    format!("{mode:?}").to_lowercase()
}

/// What happened.
pub fn event(event: &Event) -> String {
    match event {
        Event::Registry { volume: None, .. } => "sees the registry: no volume".to_owned(),
        Event::Registry { volume: Some((volume, _)), .. } => format!("sees the registry: {}", facts(volume)),
        Event::Promote { group_epoch } => format!("is told to open, group epoch {group_epoch}"),
        Event::Demote => "is told to close".to_owned(),
        Event::EpochStored => "the epoch is stored".to_owned(),
        Event::PeerMet { welcome, differing } => met(welcome, *differing),
        Event::PeerRefused { peer, why } => format!("{peer} refuses: {why}"),
        Event::PeerLost { peer, .. } => format!("lost {peer}"),
        Event::Outcome { command, outcome } => {
            let outcome = match outcome {
                Outcome::Accepted(_) => "accepted",
                Outcome::Refused => "refused",
                Outcome::Unclear => "unclear",
            };
            format!("{outcome}: {command}")
        }
        Event::PeerSet { peer, mode: set } => format!("{peer} is {}", mode(*set)),
        Event::CopyStored => "the generation is stored".to_owned(),
        Event::Synced { peer } => format!("{peer} is synced"),
        Event::DiskFailed { .. } => "the disk failed".to_owned(),
        Event::PeerDiskFailed { peer, .. } => format!("the disk of {peer} failed"),
        Event::PeerSlow { peer } => format!("{peer} is slow"),
        Event::Attached => "the device is there".to_owned(),
        Event::AttachFailed { why } => format!("no device: {why}"),
        Event::Detached => "the device is away".to_owned(),
        Event::Resized { size } => format!("grown to {size}"),
        Event::Wish(wish) => format!("an operator: {}", wished(wish)),
        Event::Woken(wake) => format!("time is up: {wake:?}"),
    }
}

fn wished(wish: &Wish) -> String {
    match wish {
        Wish::Rebuild { peer, full, discard } => {
            let all = if *full { ", all of it" } else { "" };
            let discard = if *discard { ", also over what only it has" } else { "" };
            format!("rebuild {peer}{all}{discard}")
        }
        Wish::Pause => "pause".to_owned(),
        Wish::Resume => "resume".to_owned(),
        Wish::Cancel => "cancel".to_owned(),
    }
}

fn note(note: &Note) -> String {
    match note {
        Note::Frozen(peer) => format!("writes wait for {peer}"),
        Note::Alone(peer) => format!("goes on without {peer}"),
        Note::InStep(peer) => format!("{peer} is in step"),
        Note::Resync { peer, full } => format!("resync of {peer}{}", if *full { ", all of it" } else { "" }),
        Note::Diverged(peer) => format!("{peer} went apart"),
        Note::Refused(peer, why) => format!("{peer} refuses: {why}"),
        Note::DiskFailed(_) => "the own disk failed".to_owned(),
        Note::PeerDiskFailed(peer, _) => format!("the disk of {peer} failed"),
        Note::TooSlow(peer) => format!("{peer} was put out: too slow"),
    }
}

/// What is to be done.
pub fn action(action: &Action) -> String {
    match action {
        Action::StoreEpoch(epoch) => format!("store epoch {epoch}"),
        Action::StoreStep { generation, by } => format!("store generation {generation} by {by}"),
        Action::Connect { peer, .. } => format!("call {peer}"),
        Action::Disconnect { peer } => format!("hang up on {peer}"),
        Action::SetPeer { peer, mode: set } => format!("set {peer} {}", mode(*set)),
        Action::Propose { command, .. } => format!("propose: {command}"),
        Action::StartResync { peer, full, save } => {
            let full = if *full { ", all of it" } else { "" };
            format!("start resync of {peer}{full}{}", if *save { ", saving what it has" } else { "" })
        }
        Action::PauseResync { peer, rest: true } => format!("let the resync of {peer} rest"),
        Action::PauseResync { peer, rest: false } => format!("let the resync of {peer} go on"),
        Action::StopResync { peer } => format!("stop the resync of {peer}"),
        Action::Attach => "attach".to_owned(),
        Action::Detach => "detach".to_owned(),
        Action::GoDiskless { through } => format!("go on through {through}"),
        Action::FailIo => "fail all I/O".to_owned(),
        Action::Promoted(Ok(())) => "say: open".to_owned(),
        Action::Promoted(Err(why)) => format!("say: not open: {why}"),
        Action::Demoted => "say: closed".to_owned(),
        Action::Wake(wake) => format!("wake me: {wake:?}"),
        Action::Tell(said) => format!("tell: {}", note(said)),
    }
}
