//! One voting file: this server's beat is written into it, the others' are read (R18).
//!
//! Started by the voting files' supervisor. What is read is evidence, as a heartbeat path; a server
//! that finds its own incarnation evicted there stands down at once (the kill block). Lost at a
//! restart: the file's state, which the next exchange brings back. No handler waits for the disk: one
//! exchange at a time is under way in a task.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use serde::{Deserialize, Serialize};
use tasuki_core::{
    config::{HeartbeatPath, Votes},
    ids::{Incarnation, NetworkName, ServerName},
    membership::{
        link::{Link, LinkEvent, Pace},
        view::PathState,
    },
    time::{Timestamp, millis},
    timing::Timing,
};

use super::lease_actor::LeaseMsg;
use crate::{
    context::Context,
    follow::Follow,
    ports::{DiskBeat, VotingFileError},
    supervise::{Child, Slot, SupervisorMsg},
};

/// How a voting file is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileView {
    /// Which.
    pub path: PathBuf,
    /// Why it does not work; nothing when it does. `None` until it was tried.
    pub failed: Option<Option<String>>,
    /// Since when it is so (boot clock).
    pub since: Timestamp,
    /// When it was last read and written (boot clock).
    pub last: Option<Timestamp>,
    /// How long that took.
    #[serde(with = "millis")]
    pub latency: Duration,
    /// It has not worked for the whole of `disk_timeout`.
    pub lost: bool,
}

impl FileView {
    fn new(path: &Path, now: Timestamp) -> Self {
        let path = path.to_owned();
        Self { path, failed: None, since: now, last: None, latency: Duration::ZERO, lost: false }
    }

    /// Whether the last exchange worked.
    #[must_use]
    pub fn is_online(&self) -> bool {
        self.failed == Some(None)
    }
}

/// The voting files of one node, as others see them.
#[derive(Default)]
pub struct VotingDesk {
    /// Their supervisor.
    pub supervisor: Slot<SupervisorMsg>,
    files: Mutex<BTreeMap<PathBuf, FileView>>,
    majority_lost: Mutex<bool>,
}

impl VotingDesk {
    fn files(&self) -> MutexGuard<'_, BTreeMap<PathBuf, FileView>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the files are, in the order of their configuration.
    #[must_use]
    pub fn views(&self, context: &Context) -> Vec<FileView> {
        let files = self.files();
        configured(context).files.iter().filter_map(|path| files.get(path).cloned()).collect()
    }

    /// The actors for all configured files.
    pub fn children(&self, context: &Arc<Context>) -> Vec<Child> {
        configured(context).files.iter().map(|path| self.child(context, path)).collect()
    }

    /// The actor for one file.
    pub fn child(&self, context: &Arc<Context>, path: &Path) -> Child {
        let now = context.ports.clock.now();
        self.files().entry(path.to_owned()).or_insert_with(|| FileView::new(path, now));
        let (context, path) = (context.clone(), path.to_owned());
        Child::worker(name_of(&path), move || (VotingFileActor, (context.clone(), path.clone())))
    }

    /// The files that have an actor.
    #[must_use]
    pub fn known(&self) -> BTreeSet<PathBuf> {
        self.files().keys().cloned().collect()
    }

    /// Forgets a file that is configured no more.
    pub fn forget(&self, context: &Context, path: &Path) {
        self.files().remove(path);
        context.links.drop_path(context, &name_on(path));
        context.ports.voting_files.forget(path);
        self.supervisor.cast(SupervisorMsg::Remove(name_of(path)));
    }

    fn set(&self, context: &Context, view: FileView) {
        if let Some(place) = self.files().get_mut(&view.path) {
            *place = view;
        }
        self.weigh(context);
    }

    /// A lost majority is told once, and so is its end.
    fn weigh(&self, context: &Context) {
        let votes = configured(context);
        let files = self.files();
        let lost: Vec<String> =
            files.values().filter(|file| file.lost).map(|file| file.path.display().to_string()).collect();
        let now = lost.len() * 2 > files.len();
        drop(files);
        let before =
            std::mem::replace(&mut *self.majority_lost.lock().unwrap_or_else(PoisonError::into_inner), now);
        if now && !before {
            let seconds = votes.disk_timeout.as_secs();
            let text = format!(
                "TSK-1746: a majority of the voting files has not answered for {seconds} s: {}",
                lost.join(", ")
            );
            context.tell("voting-files-lost", "votes", text);
        } else if before && !now {
            context.tell("voting-files-back", "votes", "a majority of the voting files answers again");
        }
    }
}

/// The votes as configured.
#[must_use]
pub fn configured(context: &Context) -> Votes {
    match &context.registry.borrow().settings {
        Some(settings) => settings.value.votes.clone(),
        None => context.options.config.settings.votes.clone(),
    }
}

fn name_of(path: &Path) -> String {
    format!("voting file {}", path.display())
}

/// The file as a heartbeat path.
fn name_on(path: &Path) -> NetworkName {
    HeartbeatPath::Disk { device: path.to_owned() }.name()
}

/// Often enough that an evicted server reads it while its lease lasts.
fn interval(timing: &Timing) -> Duration {
    (timing.detect / 8).max(Duration::from_millis(20))
}

fn pace(timing: &Timing) -> Pace {
    let lost = timing.path_lost.max(interval(timing) * 4);
    Pace { every: 1, late: lost / 2, lost }
}

/// Whom this server, as leader, puts out: servers that were not heard on any network for half a
/// lease, as long as a quorum has followed since they fell silent. Most of them read it while their
/// lease lasts still, stop, and say so: then nobody waits for the lease's end.
#[must_use]
pub fn evicted(context: &Context, now: Timestamp) -> BTreeMap<ServerName, Incarnation> {
    let timing = context.timing();
    let Some(end) = *context.lease.borrow() else { return BTreeMap::new() };
    if context.leading.borrow().is_none() {
        return BTreeMap::new();
    }
    let state = context.state();
    let view = context.view.borrow().clone();
    let mut evicted = BTreeMap::new();
    for (server, peer) in &view.peers {
        let networks = || peer.paths.iter().filter(|(name, _)| !HeartbeatPath::is_evidence_only(name));
        let silent = networks().all(|(_, path)| path.state == PathState::Error);
        let Some(since) = networks().map(|(_, path)| path.since).max().filter(|_| silent) else { continue };
        let silence = now.since(since) + timing.path_lost;
        // The own lease is counted from the sending of the last round that a quorum answered.
        let confirmed = end.since(since) + timing.path_lost >= timing.lease && end > now;
        if let Some(presence) = state.presence(server)
            && presence.incarnation.0 > 0
            && silence >= timing.lease / 2
            && confirmed
        {
            evicted.insert(server.clone(), presence.incarnation);
        }
    }
    evicted
}

/// What a voting file's actor is told.
#[derive(Debug)]
pub enum VotingFileMsg {
    /// Time to write and to read.
    Beat,
    /// What came of it, and how long it took.
    Exchanged(Result<Vec<DiskBeat>, VotingFileError>, Duration),
}

/// The actor.
pub struct VotingFileActor;

/// Its state.
pub struct State {
    context: Arc<Context>,
    path: PathBuf,
    view: FileView,
    seq: u64,
    under_way: bool,
    /// Since when it has not worked.
    failing: Timestamp,
    peers: BTreeMap<ServerName, Peer>,
    _beats: Follow,
}

/// Another server, as seen in this file.
struct Peer {
    link: Link,
    last: (Incarnation, u64),
    beats: u64,
}

impl Actor for VotingFileActor {
    type Msg = VotingFileMsg;
    type State = State;
    type Arguments = (Arc<Context>, PathBuf);

    async fn pre_start(
        &self,
        me: ActorRef<VotingFileMsg>,
        (context, path): Self::Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let now = context.ports.clock.now();
        let beats = Follow::beats(interval(&context.timing()), me, || VotingFileMsg::Beat);
        let view = FileView::new(&path, now);
        let peers = BTreeMap::new();
        Ok(State { context, path, view, seq: 0, under_way: false, failing: now, peers, _beats: beats })
    }

    async fn handle(
        &self,
        me: ActorRef<VotingFileMsg>,
        message: VotingFileMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            VotingFileMsg::Beat => state.beat(&me),
            VotingFileMsg::Exchanged(outcome, took) => state.exchanged(outcome, took),
        }
        Ok(())
    }
}

impl State {
    fn beat(&mut self, me: &ActorRef<VotingFileMsg>) {
        let now = self.context.ports.clock.now();
        let pace = pace(&self.context.timing());
        for (server, peer) in &mut self.peers {
            if peer.link.on(LinkEvent::Tick, &pace, now).is_some() {
                let key = (server.clone(), name_on(&self.path));
                self.context.links.set_path(&self.context, &key, peer.link.view());
            }
        }
        self.look(now);
        if self.under_way {
            return;
        }
        let config = self.context.config();
        let Some(number) = config.servers.get(self.context.me()).map(|server| server.number) else { return };
        self.seq += 1;
        self.under_way = true;
        let own = DiskBeat {
            server: self.context.me().clone(),
            number,
            incarnation: self.context.options.incarnation,
            seq: self.seq,
            stopped: self.context.stopped_before == Some(self.context.options.incarnation)
                && self.context.lease.borrow().is_none(),
            evicts: evicted(&self.context, now),
        };
        let (context, path, me) = (self.context.clone(), self.path.clone(), me.clone());
        tokio::spawn(async move {
            let began = context.ports.clock.now();
            let outcome = context.ports.voting_files.exchange(&path, &own).await;
            let took = context.ports.clock.now().since(began);
            let _ = me.cast(VotingFileMsg::Exchanged(outcome, took)); // it may be configured no more
        });
    }

    fn exchanged(&mut self, outcome: Result<Vec<DiskBeat>, VotingFileError>, took: Duration) {
        self.under_way = false;
        let now = self.context.ports.clock.now();
        let beats = match outcome {
            Ok(beats) => beats,
            Err(error) => return self.turn(Some(error.to_string()), now),
        };
        self.view.last = Some(now);
        self.view.latency = took;
        self.failing = now;
        self.turn(None, now);
        for beat in beats {
            self.heard(&beat, now);
        }
    }

    /// Its state, and the news of it.
    fn turn(&mut self, failed: Option<String>, now: Timestamp) {
        let was_online = self.view.is_online();
        let first = self.view.failed.is_none();
        let path = self.path.display();
        if failed.is_none() != was_online || first {
            self.view.since = now;
            match &failed {
                None => {
                    self.context.tell("voting-file-online", format!("vote/{path}"), format!("{path} answers"))
                }
                Some(why) => self.context.tell("voting-file-failed", format!("vote/{path}"), why.clone()),
            }
        }
        self.view.failed = Some(failed);
        self.look(now);
    }

    /// Whether it is lost by now: apart from the patience with servers, since shared storage may fail
    /// over slowly.
    fn look(&mut self, now: Timestamp) {
        let limit = configured(&self.context).disk_timeout;
        let lost = !self.view.is_online() && now.since(self.failing) >= limit
            || self.under_way && now.since(self.failing) >= limit;
        if lost && !self.view.lost {
            let path = self.path.display();
            let text =
                format!("{path} has neither been read nor written for {} s: it is lost", limit.as_secs());
            self.context.tell("voting-file-lost", format!("vote/{path}"), text);
        }
        self.view.lost = lost;
        self.context.voting.set(&self.context, self.view.clone());
    }

    fn heard(&mut self, beat: &DiskBeat, now: Timestamp) {
        let context = self.context.clone();
        if beat.server == *context.me() || !context.state().servers.contains_key(&beat.server) {
            return;
        }
        let peer = self.peers.entry(beat.server.clone()).or_insert_with(|| Peer {
            link: Link::new(now),
            last: (beat.incarnation, beat.seq),
            beats: 0,
        });
        // Only a beat that is newer than the one before is a sign of life: a block stays.
        if (beat.incarnation, beat.seq) <= peer.last {
            return;
        }
        peer.last = (beat.incarnation, beat.seq);
        peer.beats += 1;
        let event = LinkEvent::Beat { seq: peer.beats, round_trip: Some(self.view.latency) };
        if peer.link.on(event, &pace(&context.timing()), now).is_some() {
            let key = (beat.server.clone(), name_on(&self.path));
            context.links.set_path(&context, &key, peer.link.view());
        }
        if beat.stopped {
            context.lease_actor.cast(LeaseMsg::Stopped(beat.server.clone(), beat.incarnation));
        }
        let mine = context.options.incarnation;
        if beat.evicts.get(context.me()) == Some(&mine) && context.ports.guard.lease_end().is_some() {
            let why = format!("{} has evicted this server, as {} says", beat.server, self.path.display());
            context.tell("evicted", format!("server/{}", context.me()), why.clone());
            context.ports.guard.stand_down(&why);
        }
    }
}
