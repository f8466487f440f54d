//! Mirrored disks: how every copy is, as all servers that keep one say, and what operators ask for.
//!
//! What changes the registry is proposed; what the data path does is done by the server that has the
//! volume open, wherever it was asked for.

mod differences;
mod orders;
mod remedies;

use std::{collections::BTreeMap, path::PathBuf};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tasuki_actors::{
    ohas::mirrors::{MirrorError, MirrorView, MirrorsHandle},
    ports::volumes::{PeerView, Progress, VerifyReport, VolumeCounters},
};
use tasuki_core::{
    config::{GroupConfig, MirrorDiskConfig, ResourceKind},
    ids::{Epoch, Generation, GroupName, ResourceName, ServerName, VolumeName},
    mirror::{
        Colour, DiskState, LinkState, Role as CopyRole,
        state::{PeerMode, Wish},
    },
    registry::State,
    time::WallTime,
};

pub use self::{
    differences::{Difference, FileFinder, FilesFound, Look},
    orders::{CONFIRM, Order, OrderDone},
    remedies::remedy,
};
use super::{App, AppError, Caller, Role, error::Exit, joins::addresses_of};

/// The mirrored volumes of this server, for the service layer; in the program always a
/// [`MirrorsHandle`].
#[async_trait]
pub trait Mirrors: Send + Sync + 'static {
    /// Every copy here.
    fn list(&self) -> Vec<MirrorView>;
    /// A word to a volume that is open here.
    fn wish(&self, volume: &VolumeName, wish: Wish) -> Result<(), MirrorError>;
    /// Ends what is under way.
    fn stop(&self, volume: &VolumeName) -> Result<(), MirrorError>;
    /// What other copies lack, as far as this one knows: offsets and lengths in bytes.
    fn lacks(&self, volume: &VolumeName) -> Result<BTreeMap<ServerName, Vec<(u64, u64)>>, MirrorError>;
    /// Whether the data of this server's copy and of another's have gone apart.
    fn is_apart(&self, volume: &VolumeName, server: &ServerName) -> bool {
        let link = |copy: MirrorView| {
            let path = copy.path.filter(|_| copy.volume == *volume)?;
            path.peers.into_iter().find(|peer| peer.server == *server).map(|peer| peer.link)
        };
        self.list().into_iter().any(|copy| link(copy) == Some(LinkState::Diverged))
    }
    /// Begins to compare the copies.
    fn verify(&self, volume: &VolumeName, peer: &ServerName, repair: bool) -> Result<(), MirrorError>;
    /// The disk under the copy here had failed, and is in order again.
    async fn mend(&self, volume: &VolumeName) -> Result<(), MirrorError>;
    /// As large as the data areas allow now.
    async fn resize(&self, volume: &VolumeName) -> Result<u64, MirrorError>;
}

#[async_trait]
impl Mirrors for MirrorsHandle {
    fn list(&self) -> Vec<MirrorView> {
        Self::list(self)
    }

    fn wish(&self, volume: &VolumeName, wish: Wish) -> Result<(), MirrorError> {
        Self::wish(self, volume, wish)
    }

    fn stop(&self, volume: &VolumeName) -> Result<(), MirrorError> {
        Self::stop(self, volume)
    }

    fn lacks(&self, volume: &VolumeName) -> Result<BTreeMap<ServerName, Vec<(u64, u64)>>, MirrorError> {
        Self::lacks(self, volume)
    }

    fn verify(&self, volume: &VolumeName, peer: &ServerName, repair: bool) -> Result<(), MirrorError> {
        Self::verify(self, volume, peer, repair)
    }

    async fn mend(&self, volume: &VolumeName) -> Result<(), MirrorError> {
        Self::mend(self, volume).await
    }

    async fn resize(&self, volume: &VolumeName) -> Result<u64, MirrorError> {
        Self::resize(self, volume).await
    }
}

/// One mirrored disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeStatus {
    /// Its name.
    pub name: VolumeName,
    /// Its group.
    pub group: GroupName,
    /// Its size in bytes; zero when it was never opened.
    pub size: u64,
    /// Who has it open.
    pub owner: Option<ServerName>,
    /// Grows with each opening.
    pub epoch: Epoch,
    /// The lineage of its data.
    pub generation: Generation,
    /// Where the copy is good.
    pub good: Vec<ServerName>,
    /// The last time that it went on from a copy that was not good.
    pub forced: Option<ForcedStatus>,
    /// Of each server of its group, in that order.
    pub copies: Vec<CopyStatus>,
}

/// An operator let it go on from a copy that was not known to be good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForcedStatus {
    /// From whose copy.
    pub server: ServerName,
    /// The copies that were good then.
    pub instead_of: Vec<ServerName>,
    /// When.
    pub at: WallTime,
}

/// The copy of one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyStatus {
    /// Whose.
    pub server: ServerName,
    /// The data area.
    pub data: PathBuf,
    /// The management area.
    pub metadata: PathBuf,
    /// What its server says; nothing, when that does not answer.
    pub here: Option<CopyHere>,
    /// Why it does not.
    pub silent: String,
    /// The relation to the other copies, as both sides together say.
    pub link: LinkState,
    /// Its colour in the mirror helper (C21).
    pub colour: Colour,
    /// Bytes that it lacks, as far as the server knows that has the volume open.
    pub dirty: Option<u64>,
    /// A resync into it, or a check of it.
    pub progress: Option<ProgressView>,
}

/// A copy, as its own server sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyHere {
    /// Which volume.
    pub volume: VolumeName,
    /// What the server does with it.
    pub role: CopyRole,
    /// How it is.
    pub disk: DiskState,
    /// Size in bytes.
    pub size: u64,
    /// The epoch that it knows.
    pub epoch: Epoch,
    /// The lineage of its data.
    pub generation: Generation,
    /// Its device.
    pub device: Option<PathBuf>,
    /// The socket of its NBD export.
    pub export: Option<PathBuf>,
    /// Writes wait for a decision.
    pub frozen: bool,
    /// Why it is not open.
    pub problem: String,
    /// The other copies; on a secondary, the primary's.
    pub peers: Vec<PeerStatus>,
    /// What went through since it was opened.
    pub counters: Counters,
    /// What the last check found.
    pub verified: Option<Verified>,
}

/// Another server's copy, as the data path of this one sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Whose.
    pub server: ServerName,
    /// The relation.
    pub link: LinkState,
    /// How writes treat it.
    pub mode: PeerMode,
    /// Bytes that it lacks.
    pub dirty: u64,
    /// A resync or check under way.
    pub progress: Option<ProgressView>,
}

/// How far a resync or a check is. Bytes, bytes a second, milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressView {
    /// To go through in all.
    pub total: u64,
    /// Gone through.
    pub done: u64,
    /// Of these, what had to be sent.
    pub sent: u64,
    /// Lately.
    pub rate: u64,
    /// What remains, where it is known.
    pub remaining_ms: Option<u64>,
}

/// What went through a volume since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Reads answered.
    pub reads: u64,
    /// Writes answered.
    pub writes: u64,
    /// Flushes answered.
    pub flushes: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Bytes of writes under way.
    pub in_flight: u64,
}

/// What a check of the copies found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Against whom.
    pub server: Option<ServerName>,
    /// Bytes compared.
    pub compared: u64,
    /// Spans that differ: offset and length in bytes.
    pub different: Vec<(u64, u64)>,
    /// They were marked to be copied.
    pub repaired: bool,
    /// Why it ended early.
    pub problem: String,
}

impl From<Progress> for ProgressView {
    fn from(progress: Progress) -> Self {
        Self {
            total: progress.total,
            done: progress.done,
            sent: progress.sent,
            rate: progress.rate,
            remaining_ms: progress.remaining.and_then(|left| u64::try_from(left.as_millis()).ok()),
        }
    }
}

impl From<PeerView> for PeerStatus {
    fn from(peer: PeerView) -> Self {
        let progress = peer.progress.map(ProgressView::from);
        Self { server: peer.server, link: peer.link, mode: peer.mode, dirty: peer.dirty, progress }
    }
}

impl From<VolumeCounters> for Counters {
    fn from(counters: VolumeCounters) -> Self {
        Self {
            reads: counters.reads,
            writes: counters.writes,
            flushes: counters.flushes,
            read_bytes: counters.read_bytes,
            written_bytes: counters.written_bytes,
            in_flight: counters.in_flight,
        }
    }
}

impl From<VerifyReport> for Verified {
    fn from(report: VerifyReport) -> Self {
        Self {
            server: report.peer,
            compared: report.compared,
            different: report.different,
            repaired: report.repaired,
            problem: report.problem.unwrap_or_default(),
        }
    }
}

impl From<MirrorView> for CopyHere {
    fn from(view: MirrorView) -> Self {
        let verified = view.verified.map(Verified::from);
        let problem = view.problem.unwrap_or_default();
        let Some(path) = view.path else {
            return Self {
                volume: view.volume,
                role: CopyRole::Secondary,
                disk: view.disk,
                size: 0,
                epoch: Epoch(0),
                generation: Generation(0),
                device: None,
                export: None,
                frozen: false,
                problem,
                peers: Vec::new(),
                counters: Counters::default(),
                verified,
            };
        };
        Self {
            volume: view.volume,
            role: path.role,
            disk: view.disk,
            size: path.size,
            epoch: path.epoch,
            generation: path.generation,
            device: path.device,
            export: path.export,
            frozen: path.frozen,
            problem,
            peers: path.peers.into_iter().map(PeerStatus::from).collect(),
            counters: path.counters.into(),
            verified,
        }
    }
}

impl App {
    /// Every mirrored disk, or one, as the servers that keep its copies see it.
    ///
    /// # Errors
    /// Not allowed, or no disk of that name.
    pub async fn mirror_status(
        &self,
        by: &Caller,
        only: Option<&VolumeName>,
    ) -> Result<Vec<VolumeStatus>, AppError> {
        by.must_be(Role::Viewer)?;
        let state = self.applied();
        if let Some(name) = only {
            disk_of(&state, name)?;
        }
        let wanted = disks(&state).filter(|(name, ..)| only.is_none_or(|only| only == name));
        let wanted: Vec<(VolumeName, GroupName, GroupConfig, MirrorDiskConfig)> = wanted.collect();
        let mut servers: Vec<ServerName> =
            wanted.iter().flat_map(|(_, _, group, _)| group.servers.iter().cloned()).collect();
        servers.sort();
        servers.dedup();
        let asked = servers.into_iter().map(|server| {
            let state = state.clone();
            async move {
                let said = self.copies_of(by, &state, &server).await;
                (server, said)
            }
        });
        let said: Vec<(ServerName, Result<Vec<CopyHere>, String>)> = futures::future::join_all(asked).await;
        let status =
            |(name, group_name, group, disk): (VolumeName, GroupName, GroupConfig, MirrorDiskConfig)| {
                together(&state, name, group_name, &group, &disk, &said)
            };
        Ok(wanted.into_iter().map(status).collect())
    }

    /// The copies of this server.
    ///
    /// # Errors
    /// Only when the caller may not.
    pub fn mirror_here(&self, by: &Caller) -> Result<Vec<CopyHere>, AppError> {
        by.must_be(Role::Viewer)?;
        let mirrors = self.mirrors.iter().flat_map(|mirrors| mirrors.list());
        Ok(mirrors.map(CopyHere::from).collect())
    }

    async fn copies_of(
        &self,
        by: &Caller,
        state: &State,
        server: &ServerName,
    ) -> Result<Vec<CopyHere>, String> {
        if *server == self.node.status().server {
            return self.mirror_here(by).map_err(|error| error.to_string());
        }
        if state.presence(server).is_some_and(|presence| !presence.up) {
            return Err("the server is down".to_owned());
        }
        let (addresses, port) = place_of(state, server);
        self.fleet.mirrors_there(server, &addresses, port).await
    }
}

/// Where a server's service layer is reached.
fn place_of(state: &State, server: &ServerName) -> (Vec<std::net::IpAddr>, u16) {
    let port = state.settings.as_ref().map_or(0, |settings| settings.value.port);
    (addresses_of(state, server), port)
}

/// Every mirrored disk of the configuration, by group and name.
fn disks(state: &State) -> impl Iterator<Item = (VolumeName, GroupName, GroupConfig, MirrorDiskConfig)> {
    let groups = state.groups.iter().filter_map(|(name, entry)| Some((name, &entry.config.as_ref()?.value)));
    groups.flat_map(|(name, group)| {
        group.resources.iter().filter_map(move |(resource, config)| match &config.kind {
            ResourceKind::MirrorDisk(disk) => {
                Some((VolumeName::new(resource.as_str()), name.clone(), group.clone(), disk.clone()))
            }
            ResourceKind::Exec(_) | ResourceKind::FloatingIp(_) => None,
        })
    })
}

/// The disk of this name, or that there is none.
fn disk_of(state: &State, name: &VolumeName) -> Result<(GroupName, GroupConfig), AppError> {
    let found = disks(state).find(|(own, ..)| own == name).map(|(_, name, group, _)| (name, group));
    found.ok_or_else(|| {
        let names: Vec<String> = disks(state).map(|(name, ..)| name.to_string()).collect();
        let remedy = match tasuki_config::nearest(name.as_str(), names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean {near}?"),
            None if names.is_empty() => {
                "no mirrored disk is configured; `tasuki mirror create` adds one".to_owned()
            }
            None => "`tasuki mirror status` lists them".to_owned(),
        };
        coded("TSK-1810", format!("no mirrored disk is called {name}"), &remedy, Exit::NotFound)
    })
}

fn failed(error: MirrorError) -> AppError {
    match &error {
        MirrorError::Idle(_) => coded(
            "TSK-1863",
            error.to_string(),
            "nothing needs to be done; `tasuki mirror status` shows what is under way",
            Exit::Refused,
        ),
        MirrorError::NotOpen { why, .. } => {
            let remedy = remedy(why).unwrap_or("`tasuki mirror status` shows how the copies are");
            coded("TSK-1818", error.to_string(), remedy, Exit::Refused)
        }
        MirrorError::OpenHere(_) => {
            let remedy = "move its group to another server first, and rebuild again";
            coded("TSK-1818", error.to_string(), remedy, Exit::Refused)
        }
        MirrorError::CountedOn(_) => {
            let remedy = "start its group: the disk is tried again where its copy is the last good one";
            coded("TSK-1818", error.to_string(), remedy, Exit::Refused)
        }
        _ => {
            let remedy = "`tasuki mirror status` shows who has it open";
            coded("TSK-1818", error.to_string(), remedy, Exit::Refused)
        }
    }
}

fn coded(code: &str, message: String, remedy: &str, exit: Exit) -> AppError {
    AppError::Coded { code: code.to_owned(), message, remedy: remedy.to_owned(), exit }
}

/// What all its servers say of one disk, put together.
fn together(
    state: &State,
    name: VolumeName,
    group_name: GroupName,
    group: &GroupConfig,
    disk: &MirrorDiskConfig,
    said: &[(ServerName, Result<Vec<CopyHere>, String>)],
) -> VolumeStatus {
    let facts = state.volumes.get(&name).map(|item| &item.value);
    let of = |server: &ServerName| said.iter().find(|(who, _)| who == server).map(|(_, said)| said);
    let own = |server: &ServerName| {
        let copies = of(server)?.as_ref().ok()?;
        copies.iter().find(|copy| copy.volume == name).cloned()
    };
    let primary = group.servers.iter().filter_map(own).find(|copy| copy.role == CopyRole::Primary);
    let copies = group.servers.iter().map(|server| {
        let here = own(server);
        let silent = match of(server) {
            Some(Err(why)) => why.clone(),
            Some(Ok(_)) if here.is_none() => "it has not begun to keep a copy yet".to_owned(),
            _ => String::new(),
        };
        let there = primary.as_ref().and_then(|copy| copy.peers.iter().find(|peer| peer.server == *server));
        let link = link_of(here.as_ref(), there);
        let colour = match &here {
            // Its server answers, and cannot use it.
            Some(copy) if copy.disk == DiskState::Diskless && !copy.problem.is_empty() => Colour::Red,
            Some(copy) => Colour::of(copy.disk, link),
            None => Colour::Grey,
        };
        let areas = disk.areas(server);
        CopyStatus {
            server: server.clone(),
            data: areas.data,
            metadata: areas.metadata,
            silent,
            link,
            colour,
            dirty: there.map(|peer| peer.dirty),
            progress: there.and_then(|peer| peer.progress),
            here,
        }
    });
    let copies = copies.collect();
    VolumeStatus {
        group: group_name,
        size: facts.map_or(0, |facts| facts.size),
        owner: facts.and_then(|facts| facts.owner.clone()),
        epoch: facts.map_or(Epoch(0), |facts| facts.epoch),
        generation: facts.map_or(Generation(0), |facts| facts.generation),
        good: facts.map(|facts| facts.good.iter().cloned().collect()).unwrap_or_default(),
        forced: facts.and_then(|facts| facts.forced.as_ref()).map(|forced| ForcedStatus {
            server: forced.server.clone(),
            instead_of: forced.instead_of.iter().cloned().collect(),
            at: forced.at,
        }),
        name,
        copies,
    }
}

/// The link of one copy: of a primary the worst of its own, of a secondary what the primary says, and
/// what it says itself where there is none.
fn link_of(here: Option<&CopyHere>, there: Option<&PeerStatus>) -> LinkState {
    let worst = |links: Vec<LinkState>| {
        let order = [
            LinkState::Diverged,
            LinkState::Disconnected,
            LinkState::Handshaking,
            LinkState::Paused,
            LinkState::SyncSource,
            LinkState::SyncTarget,
        ];
        let found = order.into_iter().find(|one| links.contains(one));
        found.unwrap_or(if links.is_empty() { LinkState::Disconnected } else { LinkState::Connected })
    };
    if let Some(peer) = there {
        return if peer.link == LinkState::SyncSource { LinkState::SyncTarget } else { peer.link };
    }
    worst(here.map(|copy| copy.peers.iter().map(|peer| peer.link).collect()).unwrap_or_default())
}

/// The resource of a volume.
#[must_use]
pub fn resource_of(volume: &VolumeName) -> ResourceName {
    ResourceName::new(volume.as_str())
}

#[cfg(test)]
mod tests;
