//! The data path of one volume in memory.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use tasuki_actors::ports::volumes::{
    PeerView, VolumeCounters, VolumeError, VolumeEvent, VolumePath, VolumeView,
};
use tasuki_core::{
    ids::{Epoch, Generation, ServerName},
    mirror::{
        DiskState, LinkState, Role,
        handshake::{Hello, LocalCopy, Unwelcome, Welcome, answer},
        state::PeerMode,
    },
};

use super::{Disks, Inner, Live, Met, NETWORK, Task, Which};

/// Between two calls, and between two looks whether a stream still stands.
const PAUSE: Duration = Duration::from_millis(5);
/// How long a call into a cut cable takes to fail.
const SILENCE: Duration = Duration::from_millis(50);

pub(super) struct Path {
    pub disks: Arc<Disks>,
    pub which: Which,
    pub life: u64,
}

impl Path {
    /// With the open copy, unless this opening is over.
    fn live<T>(&self, with: impl FnOnce(&mut Live) -> T) -> Option<T> {
        let mut inner = self.disks.inner();
        inner.open.get_mut(&self.which).filter(|live| live.life == self.life).map(with)
    }

    fn change<T>(&self, with: impl FnOnce(&mut Inner) -> T) -> Result<T, VolumeError> {
        let mut inner = self.disks.inner();
        let stands = inner.open.get(&self.which).is_some_and(|live| live.life == self.life);
        if stands { Ok(with(&mut inner)) } else { Err(VolumeError::Ended) }
    }
}

/// Calls a peer until it lets us in; then looks whether it still does.
async fn call(
    disks: Arc<Disks>,
    which: Which,
    life: u64,
    peer: ServerName,
    at: Vec<SocketAddr>,
    epoch: Epoch,
) {
    let say = |event: VolumeEvent| {
        let inner = disks.inner();
        let live = inner.open.get(&which).filter(|live| live.life == life);
        live.is_some_and(|live| live.events.send(event).is_ok())
    };
    loop {
        let lost = |why: &str| VolumeEvent::PeerLost { peer: peer.clone(), why: why.to_owned() };
        let event = match greet(&disks, &which, life, &peer, &at, epoch) {
            None => {
                tokio::time::sleep(SILENCE).await;
                lost("no answer")
            }
            Some(Err(Unwelcome::NoVolume(_))) => lost("its copy is not open"),
            Some(Err(why)) => VolumeEvent::PeerRefused { peer: peer.clone(), why },
            Some(Ok(met)) => {
                if !say(met) {
                    return;
                }
                while disks.stands(&disks.inner(), &which, &peer) {
                    tokio::time::sleep(PAUSE).await;
                }
                lost_stream(&disks, &which, life, &peer);
                lost("the stream broke")
            }
        };
        if !say(event) {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Hello and answer; `None` when nobody answers.
fn greet(
    disks: &Disks,
    which: &Which,
    life: u64,
    peer: &ServerName,
    at: &[SocketAddr],
    epoch: Epoch,
) -> Option<Result<VolumeEvent, Unwelcome>> {
    let mut inner = disks.inner();
    let own = inner.copies.get(which)?.clone();
    let lineage = inner.open.get(which).filter(|live| live.life == life)?.lineage.clone();
    if !disks.wire.carries(&which.0, peer, NETWORK) {
        return None;
    }
    let there = (peer.clone(), which.1.clone());
    let Some(live) = inner.open.get(&there) else { return Some(Err(Unwelcome::NoVolume(which.1.clone()))) };
    if !live.at.iter().any(|place| at.contains(place)) {
        return None; // nobody listens there
    }
    let (peer_life, primary) = (live.life, live.role == Role::Primary);
    let (calls, speaks) = (inner.speaks(&which.0), inner.speaks(peer));
    let (their_lineage, copy) = (live.lineage.clone(), inner.copies.get_mut(&there)?);
    let hello = Hello {
        lineage,
        volume: which.1.clone(),
        primary: which.0.clone(),
        epoch,
        geometry: own.says().geometry,
        history: own.history.clone(),
        wire: calls,
    };
    let primary = primary.then_some(copy.epoch);
    let wire = match answer(&copy.says(), &their_lineage, primary, speaks, &hello) {
        Ok(wire) => wire,
        Err(why) => return Some(Err(why)),
    };
    copy.epoch = epoch;
    let differing = u64::try_from(copy.differing(&which.0).len()).unwrap_or(u64::MAX);
    let welcome = Welcome { server: peer.clone(), copy: copy.says(), differing, wire };
    if let Some(live) = inner.open.get(&there) {
        let _gone = live.events.send(VolumeEvent::Primary { server: Some(which.0.clone()), epoch });
    }
    if let Some(live) = inner.open.get_mut(which) {
        live.met.insert(peer.clone(), Met { epoch, life: peer_life, set: false });
    }
    let differing = u64::try_from(own.differing(peer).len()).unwrap_or(u64::MAX);
    Some(Ok(VolumeEvent::PeerMet { welcome, differing }))
}

/// A stream is over: its resync too.
fn lost_stream(disks: &Disks, which: &Which, life: u64, peer: &ServerName) {
    let mut inner = disks.inner();
    if let Some(live) = inner.open.get_mut(which).filter(|live| live.life == life) {
        live.met.remove(peer);
        live.resyncs.remove(peer);
    }
}

#[async_trait]
impl VolumePath for Path {
    async fn store_epoch(&self, epoch: Epoch) -> Result<(), VolumeError> {
        self.change(|inner| {
            if let Some(live) = inner.open.get_mut(&self.which) {
                live.lose(|_| true, "an older epoch is over");
            }
            if let Some(copy) = inner.copies.get_mut(&self.which) {
                copy.epoch = epoch;
            }
        })
    }

    async fn store_step(&self, generation: Generation, by: &ServerName) -> Result<(), VolumeError> {
        let peers: Vec<ServerName> = {
            let inner = self.disks.inner();
            let Some(live) = inner.open.get(&self.which) else { return Err(VolumeError::Ended) };
            let required = live.modes.iter().filter(|(_, mode)| **mode == PeerMode::Required);
            let required = required.map(|(peer, _)| peer.clone());
            required.filter(|peer| self.disks.stands(&inner, &self.which, peer)).collect()
        };
        self.change(|inner| {
            for server in peers.into_iter().chain([self.which.0.clone()]) {
                if let Some(copy) = inner.copies.get_mut(&(server, self.which.1.clone()))
                    && copy.history.generation() < generation
                {
                    copy.history.step(generation, by);
                }
            }
        })
    }

    async fn become_primary(&self, epoch: Epoch) -> Result<(), VolumeError> {
        self.change(|inner| {
            let all =
                inner.copies.keys().filter(|(server, of)| *of == self.which.1 && *server != self.which.0);
            let peers: Vec<ServerName> = all.map(|(server, _)| server.clone()).collect();
            if let Some(copy) = inner.copies.get_mut(&self.which) {
                let log = std::mem::take(&mut copy.log);
                for peer in peers {
                    copy.dirty.entry(peer).or_default().extend(&log);
                }
                (copy.crashed, copy.epoch) = (true, epoch);
            }
            if let Some(live) = inner.open.get_mut(&self.which) {
                (live.role, live.failed) = (Role::Primary, false);
            }
        })
    }

    fn connect(&self, peer: &ServerName, at: &[SocketAddr], epoch: Epoch) {
        let (disks, which) = (self.disks.clone(), self.which.clone());
        let calling = tokio::spawn(call(disks, which, self.life, peer.clone(), at.to_vec(), epoch));
        self.live(|live| live.calling.insert(peer.clone(), Arc::new(Task(calling))));
    }

    fn disconnect(&self, peer: &ServerName) {
        self.live(|live| {
            live.lose(|other| other == peer, "called no more");
        });
    }

    async fn set_peer(&self, peer: &ServerName, mode: PeerMode) -> bool {
        let mut inner = self.disks.inner();
        let stands = self.disks.stands(&inner, &self.which, peer);
        let there = (peer.clone(), self.which.1.clone());
        if mode == PeerMode::Required {
            let own = inner.copies.get(&self.which).map(|copy| {
                (copy.history.clone(), copy.dirty.get(peer).is_none_or(|dirty| dirty.is_empty()))
            });
            let Some((history, true)) = own.filter(|_| stands) else { return false };
            if let Some(copy) = inner.copies.get_mut(&there) {
                copy.history = history;
            }
        }
        let Some(live) = inner.open.get_mut(&self.which).filter(|live| live.life == self.life) else {
            return false;
        };
        live.modes.insert(peer.clone(), mode);
        if let Some(met) = live.met.get_mut(peer) {
            met.set = true;
        }
        true
    }

    fn start_resync(&self, peer: &ServerName, full: bool, _save: bool) {
        let (disks, which) = (self.disks.clone(), self.which.clone());
        let task = tokio::spawn(super::resync::run(disks, which, self.life, peer.clone(), full));
        self.live(|live| live.resyncs.insert(peer.clone(), (Arc::new(Task(task)), false)));
    }

    fn pause_resync(&self, peer: &ServerName, rest: bool) {
        self.live(|live| {
            if let Some((_, rests)) = live.resyncs.get_mut(peer) {
                *rests = rest;
            }
        });
    }

    fn stop_resync(&self, peer: &ServerName) {
        self.live(|live| live.resyncs.remove(peer));
    }

    fn verify(&self, peer: &ServerName, repair: bool) {
        let _ended = self.change(|inner| super::resync::verify(inner, &self.which, peer, repair));
    }

    async fn attach(&self) -> Result<PathBuf, VolumeError> {
        self.change(|inner| {
            if let Some(live) = inner.open.get_mut(&self.which) {
                live.device = true;
            }
            PathBuf::from(format!("/dev/twin/{}/{}", self.which.0, self.which.1))
        })
    }

    async fn detach(&self) -> Result<(), VolumeError> {
        self.live(|live| live.device = false);
        Ok(())
    }

    async fn go_diskless(&self, through: &ServerName) -> Result<(), VolumeError> {
        self.live(|live| live.diskless = Some(through.clone()));
        Ok(())
    }

    fn lacks(&self, _peer: &ServerName) -> Vec<(u64, u64)> {
        Vec::new() // its disks have no bytes that could be named
    }

    fn stop_verify(&self) {} // it ends at once

    fn fail_io(&self) {
        self.live(|live| live.failed = true);
    }

    async fn resize(&self) -> Result<u64, VolumeError> {
        Err(VolumeError::Area("its data area has not grown".into()))
    }

    async fn answers(&self) -> Result<(), VolumeError> {
        self.change(|_| ())
    }

    fn view(&self) -> VolumeView {
        let inner = self.disks.inner();
        let copy = inner.copies.get(&self.which).map(super::Copy::says);
        let live = inner.open.get(&self.which).filter(|live| live.life == self.life);
        let peers = live.into_iter().flat_map(|live| {
            live.modes.iter().map(|(peer, mode)| PeerView {
                server: peer.clone(),
                link: match (live.met.contains_key(peer), live.resyncs.get(peer)) {
                    (true, Some((_, true))) => LinkState::Paused,
                    (true, Some(_)) => LinkState::SyncSource,
                    (true, None) => LinkState::Connected,
                    (false, _) => LinkState::Disconnected,
                },
                mode: *mode,
                dirty: 0,
                progress: None,
            })
        });
        VolumeView {
            role: live.map(|live| live.role).unwrap_or_default(),
            disk: copy.as_ref().map_or(DiskState::Diskless, |copy| copy.disk),
            failed: None,
            size: copy.as_ref().map_or(0, |copy| copy.geometry.size),
            epoch: copy.as_ref().map(|copy| copy.epoch).unwrap_or_default(),
            generation: copy.map(|copy| copy.history.generation()).unwrap_or_default(),
            device: None,
            export: None,
            frozen: false,
            peers: peers.collect(),
            counters: VolumeCounters::default(),
        }
    }

    fn copy(&self) -> LocalCopy {
        let inner = self.disks.inner();
        inner.copies.get(&self.which).map_or_else(|| super::Copy::blank().says(), super::Copy::says)
    }

    async fn remember_failure(&self) -> Result<(), VolumeError> {
        self.change(|_| ()) // a copy here never forgets it
    }

    async fn become_secondary(&self) -> Result<(), VolumeError> {
        self.change(|inner| {
            if let Some(live) = inner.open.get_mut(&self.which) {
                live.role = Role::Secondary;
                live.device = false;
                live.lose(|_| true, "closed");
                live.modes.clear();
            }
            if let Some(copy) = inner.copies.get_mut(&self.which) {
                copy.crashed = !copy.log.is_empty();
            }
        })
    }

    async fn close(&self) {
        let mut inner = self.disks.inner();
        if inner.open.get(&self.which).is_some_and(|live| live.life == self.life) {
            inner.open.remove(&self.which);
        }
    }
}
