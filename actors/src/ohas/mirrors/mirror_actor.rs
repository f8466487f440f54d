//! One mirrored volume on this server.
//!
//! Started by the mirrors' supervisor; owns the core's [`Mirror`] and its timers. Lost at a restart:
//! how far an opening or a resync was. The data path stays open, and with it the device; a volume that
//! is open here is opened once more under the next epoch, and goes on.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tasuki_core::{
    ids::{Epoch, Lineage, Revision, ServerName, VolumeName},
    mirror::{
        DiskState, Role,
        state::{Action, Event, Mirror, NotPromoted, Outcome, Wake, Wish},
    },
    registry::{Author, Command, Key, State as Registry, mirror::VolumeCommand},
};
use tokio::task::JoinHandle;

use super::{
    Configured, MirrorsMsg, configured,
    desk::{Desk, Events},
    handle::MirrorError,
    orders::{Order, Orders},
    places_of, told, watch,
};
use crate::{
    context::Context,
    handle::RegistryError,
    ports::volumes::{OpenedVolume, VolumeError, VolumeEvent, VolumeOrder, VolumePath},
    propose::{propose, read},
};

/// What a mirror's actor is told.
pub enum MirrorMsg {
    /// The registry has changed.
    Registry,
    /// Somebody wants the volume open here, or not any more.
    Wanted,
    /// The copy was opened, or not.
    Opened(Result<OpenedVolume, VolumeError>),
    /// Time to try again to open it.
    OpenAgain,
    /// The data path says something.
    Path(VolumeEvent),
    /// The data path has not answered for some time, or answers again.
    Answers(bool),
    /// What an order came to, a proposal, or a timer.
    Event(Event),
    /// The device is there, or not.
    Attached(Result<PathBuf, VolumeError>),
    /// Something takes longer than it should.
    Problem(String),
    /// The data path is a secondary again.
    LetGo,
    /// An operator's word.
    Wish(Wish),
    /// The disk that had failed is in order again, an operator says.
    Mend,
}

/// After a copy could not be opened.
const OPEN_AGAIN: Duration = Duration::from_secs(2);
/// Who waits for an opening is told after so many that failed.
const TRIES: u32 = 3;

/// The actor.
pub struct MirrorActor;

/// Where the resource's wish and the machine are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Closed,
    /// Being opened under this ownership of the group.
    Opening(Epoch),
    Open(Epoch),
    Closing,
}

/// Its state.
pub struct State {
    context: Arc<Context>,
    me: ActorRef<MirrorMsg>,
    volume: VolumeName,
    desk: Arc<Desk>,
    config: Option<Configured>,
    machine: Option<Mirror>,
    phase: Phase,
    /// The epoch of the volume that was stored last.
    epoch: Epoch,
    orders: Option<Orders>,
    device: Option<PathBuf>,
    /// A copy is being opened.
    opening: Option<JoinHandle<()>>,
    /// Hands on what the data path says.
    listening: Option<JoinHandle<()>>,
    /// Looks whether the data path answers.
    watching: Option<JoinHandle<()>>,
    wakes: BTreeMap<Wake, JoinHandle<()>>,
    /// That the disk has failed is, or is being, remembered.
    remembers: bool,
    /// The opening that is under way starts over on a disk that had failed.
    mends: bool,
    /// Openings in a row that failed.
    tries: u32,
    /// Where the copy here answers primaries, as it was opened.
    opened_at: Vec<SocketAddr>,
    /// The peers that are called: where, and under which epoch.
    called: BTreeMap<ServerName, (Vec<SocketAddr>, Epoch)>,
}

impl Drop for State {
    fn drop(&mut self) {
        let tasks =
            self.opening.iter().chain(&self.listening).chain(&self.watching).chain(self.wakes.values());
        tasks.for_each(JoinHandle::abort);
    }
}

impl Actor for MirrorActor {
    type Msg = MirrorMsg;
    type State = State;
    type Arguments = (Arc<Context>, VolumeName, Arc<Desk>);

    async fn pre_start(
        &self,
        me: ActorRef<MirrorMsg>,
        (context, volume, desk): Self::Arguments,
    ) -> Result<State, ActorProcessingErr> {
        desk.slot.set(me.clone());
        let config = configured(&context.state(), context.me()).remove(&volume);
        let mut state = State {
            context,
            me,
            volume,
            desk,
            config,
            machine: None,
            phase: Phase::Closed,
            epoch: Epoch(0),
            orders: None,
            device: None,
            opening: None,
            listening: None,
            watching: None,
            wakes: BTreeMap::new(),
            remembers: false,
            mends: false,
            tries: 0,
            opened_at: Vec::new(),
            called: BTreeMap::new(),
        };
        state.adopt_or_open();
        Ok(state)
    }

    async fn handle(
        &self,
        _me: ActorRef<MirrorMsg>,
        message: MirrorMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            MirrorMsg::Registry => state.registry(),
            MirrorMsg::Wanted => state.reconcile(),
            MirrorMsg::Opened(opened) => state.opened(opened),
            MirrorMsg::OpenAgain => state.open(),
            MirrorMsg::Path(event) => state.path_says(event),
            MirrorMsg::Answers(answers) => state.answers(answers),
            MirrorMsg::Event(event) => state.on(event),
            MirrorMsg::Attached(attached) => state.attached(attached),
            MirrorMsg::Problem(why) => {
                tracing::warn!(volume = %state.volume, why, "the device does not go away yet");
                state.desk.inner().problem = Some(why);
            }
            MirrorMsg::LetGo => state.let_go(),
            MirrorMsg::Wish(wish) => state.on(Event::Wish(wish)),
            MirrorMsg::Mend => state.mend(),
        }
        Ok(())
    }
}

/// The peers that the registry has as down: an opening does not wait for them.
fn away(registry: &Registry, peers: &BTreeSet<ServerName>) -> BTreeSet<ServerName> {
    let is_up = |peer: &ServerName| registry.presence(peer).is_some_and(|presence| presence.up);
    peers.iter().filter(|peer| !is_up(peer)).cloned().collect()
}

impl State {
    /// What an earlier life of this actor opened stays open.
    fn adopt_or_open(&mut self) {
        let open = self.desk.inner().open.clone();
        match open {
            Some((path, events)) => {
                let was_primary = path.view().role == Role::Primary;
                self.begin(events);
                if was_primary && self.desk.inner().wanted.is_none() {
                    self.phase = Phase::Closing; // it was being closed
                    self.perform(Action::Demoted);
                }
                self.reconcile();
                self.mend();
            }
            None => self.open(),
        }
    }

    /// Opens the copy, beside the actor. Whether it may be a new one is what the registry says now, not
    /// what was applied here last (R23, R25).
    fn open(&mut self) {
        let Some(config) = &self.config else { return };
        if let Some(before) = self.opening.take() {
            before.abort();
        }
        let (context, me, volume) = (self.context.clone(), self.me.clone(), self.volume.clone());
        let (disk, peers) = (config.disk.clone(), config.rules.peers.clone());
        self.mends = {
            let mut inner = self.desk.inner();
            inner.opened_as = Some(config.clone());
            !inner.mending.is_empty()
        };
        let mends = self.mends;
        let at = places_of(&self.context.config(), &disk, self.context.me());
        self.opened_at.clone_from(&at);
        self.opening = Some(tokio::spawn(async move {
            let registry = loop {
                match read(&context).await {
                    Ok(registry) if registry.lineage.is_some() => break registry,
                    _ => tokio::time::sleep(context.timing().beat).await,
                }
            };
            let facts = registry.volumes.get(&volume);
            let may_be_new = facts.is_none_or(|item| !item.value.good.contains(context.me()));
            let order = VolumeOrder {
                volume,
                config: disk,
                server: context.me().clone(),
                peers,
                at,
                lineage: registry.lineage.clone().unwrap_or_else(|| Lineage::new("")),
                may_be_new,
                start_over: mends && may_be_new,
            };
            let opened = context.ports.volumes.open(order).await;
            let _gone = me.cast(MirrorMsg::Opened(opened));
        }));
    }

    fn opened(&mut self, opened: Result<OpenedVolume, VolumeError>) {
        self.opening = None;
        match opened {
            Ok(opened) => {
                if !self.desk.keep(opened) {
                    return;
                }
                self.tries = 0;
                let open = self.desk.inner().open.clone();
                if let Some((path, events)) = open {
                    let mended = path.view().failed.is_none();
                    if mended || self.mends {
                        self.desk.inner().answer_mending(|| {
                            if mended { Ok(()) } else { Err(MirrorError::CountedOn(self.volume.clone())) }
                        });
                    }
                    self.begin(events);
                    self.mend(); // asked for while it was being opened
                }
                self.open_anew(); // the settings may have changed meanwhile
            }
            Err(error) => {
                let why = error.to_string();
                // What was open before may need a moment to let go of its areas.
                self.tries += 1;
                if self.tries >= TRIES {
                    let volume = &self.volume;
                    self.desk.inner().answer_mending(|| {
                        Err(MirrorError::NotOpen { volume: volume.clone(), why: why.clone() })
                    });
                }
                if self.desk.refuse(&why) {
                    self.tell("mirror-not-open", format!("TSK-1808: the copy here is not open: {why}"));
                }
                let me = self.me.clone();
                self.opening = Some(tokio::spawn(async move {
                    tokio::time::sleep(OPEN_AGAIN).await;
                    let _gone = me.cast(MirrorMsg::OpenAgain);
                }));
            }
        }
        self.reconcile();
    }

    /// The copy is open: a machine for it, and ears for its data path.
    fn begin(&mut self, events: Events) {
        let (Some(path), Some(config)) = (self.desk.path(), &self.config) else { return };
        self.machine = Some(Mirror::new(config.rules.clone(), Some(path.copy())));
        if let Some(before) = self.watching.replace(watch::watch(path.clone(), self.me.clone())) {
            before.abort();
        }
        self.orders = Some(Orders::to(path, self.me.clone()));
        self.remembers = false;
        let me = self.me.clone();
        if let Some(before) = self.listening.take() {
            before.abort();
        }
        self.listening = Some(tokio::spawn(async move {
            let mut events = events.lock().await;
            while let Some(event) = events.recv().await {
                if me.cast(MirrorMsg::Path(event)).is_err() {
                    return;
                }
            }
        }));
        self.registry();
    }

    fn registry(&mut self) {
        let registry = self.context.state();
        let config = configured(&registry, self.context.me()).remove(&self.volume);
        if let Some(config) = config
            && self.config.as_ref() != Some(&config)
        {
            self.configure(config);
        }
        self.follow_addresses();
        let Some(group) = self.config.as_ref().map(|config| config.rules.group.clone()) else { return };
        let facts = registry.volumes.get(&self.volume);
        let ownership = registry.groups.get(&group).map(|entry| &entry.ownership.value);
        let owner = ownership.and_then(|ownership| Some((ownership.owner.clone()?, ownership.epoch)));
        let volume = facts.map(|item| (item.value.clone(), item.modified));
        self.on(Event::Registry { volume, owner });
        self.remember_failure();
    }

    /// A disk that failed is remembered once nobody counts on its copy any more: the last good one is
    /// tried again by the next node.
    fn remember_failure(&mut self) {
        if self.remembers || self.machine.is_none() {
            return;
        }
        let out = |registry: &Registry| {
            let facts = registry.volumes.get(&self.volume);
            facts.is_some_and(|item| !item.value.good.contains(self.context.me()))
        };
        let failed = self.desk.path().is_some_and(|path| path.view().disk == DiskState::Failed);
        if failed && out(&self.context.state()) {
            self.remembers = true;
            self.order(Order::RememberFailure);
        }
    }

    /// The copy on a disk that had failed is opened anew, as one of nothing; whoever asked for that is
    /// answered then.
    fn mend(&mut self) {
        let failed = self.desk.path().is_some_and(|path| path.view().disk == DiskState::Failed);
        let open = {
            let mut inner = self.desk.inner();
            if inner.mending.is_empty() {
                return;
            }
            if self.phase != Phase::Closed || inner.wanted.is_some() {
                inner.answer_mending(|| Err(MirrorError::OpenHere(self.volume.clone())));
                return;
            }
            if inner.open.is_none() {
                return; // it is being opened: who asked is answered after that
            }
            if !failed {
                inner.answer_mending(|| Ok(()));
                return;
            }
            inner.open.take()
        };
        (self.machine, self.orders) = (None, None);
        self.close_and_open(open.map(|(path, _)| path));
    }

    /// A peer that is called is called where it is now; the own copy is opened anew where nobody has the
    /// volume open here.
    fn follow_addresses(&mut self) {
        let (Some(path), Some(disk)) = (self.desk.path(), self.config.as_ref().map(|it| it.disk.clone()))
        else {
            return;
        };
        let config = self.context.config();
        for (peer, (at, epoch)) in &mut self.called {
            let now = places_of(&config, &disk, peer);
            if now != *at {
                tracing::info!(volume = %self.volume, %peer, at = ?now, "the peer has another address");
                path.connect(peer, &now, *epoch);
                *at = now;
            }
        }
        self.open_anew();
    }

    /// Other settings: the machine goes by them from now on. Other areas are opened when nobody has
    /// the volume open.
    fn configure(&mut self, config: Configured) {
        if let Some(machine) = &mut self.machine {
            machine.rules = config.rules.clone();
        }
        self.config = Some(config);
        self.open_anew();
    }

    /// Where the copy was opened with other settings than there are now, and nobody has the volume open
    /// here, it is opened anew.
    fn open_anew(&mut self) {
        let Some(config) = self.config.clone().filter(|_| self.phase == Phase::Closed) else { return };
        let open = {
            let mut inner = self.desk.inner();
            let at = places_of(&self.context.config(), &config.disk, self.context.me());
            let as_before = inner.opened_as.as_ref() == Some(&config) && at == self.opened_at;
            if inner.open.is_none() || as_before {
                return;
            }
            inner.open.take()
        };
        (self.machine, self.orders) = (None, None);
        self.close_and_open(open.map(|(path, _)| path));
    }

    fn close_and_open(&mut self, open: Option<Arc<dyn VolumePath>>) {
        let Some(path) = open else { return };
        if let Some(watching) = self.watching.take() {
            watching.abort(); // it holds the path too
        }
        let me = self.me.clone();
        self.opening = Some(tokio::spawn(async move {
            path.close().await;
            drop(path); // and with it its hold on the areas
            let _gone = me.cast(MirrorMsg::OpenAgain);
        }));
    }

    /// Compares what is wanted with what is, and takes the next step.
    fn reconcile(&mut self) {
        let (wanted, problem) = {
            let inner = self.desk.inner();
            (inner.wanted, inner.problem.clone())
        };
        if self.machine.is_none() {
            let mut inner = self.desk.inner();
            inner.answer_demoting();
            if let Some(why) = problem {
                inner.wanted = None;
                let volume = &self.volume;
                inner.answer_promoting(|| {
                    Err(MirrorError::NotOpen { volume: volume.clone(), why: why.clone() })
                });
            }
            return; // or it is being opened: then whoever waits is answered after that
        }
        match (self.phase, wanted) {
            (Phase::Closed, Some(group_epoch)) => {
                self.set_phase(Phase::Opening(group_epoch));
                if let (Some(machine), Some(path)) = (&mut self.machine, self.desk.path()) {
                    // Since it was opened, a primary may have made it another one.
                    machine.own = Some(path.copy());
                    machine.away = away(&self.context.state(), &machine.rules.peers);
                }
                self.registry();
                self.on(Event::Promote { group_epoch });
            }
            (Phase::Open(epoch), Some(group_epoch)) if epoch == group_epoch => {
                if let Some(device) = &self.device {
                    self.desk.inner().hand_out_to_all(device);
                }
            }
            (Phase::Opening(epoch), Some(group_epoch)) if epoch == group_epoch => {}
            (Phase::Open(_) | Phase::Opening(_), _) => {
                self.set_phase(Phase::Closing);
                self.on(Event::Demote);
            }
            (Phase::Closed, None) => {
                self.desk.inner().answer_demoting();
                self.context.mirrors.keeper.cast(MirrorsMsg::Look);
            }
            (Phase::Closing, _) => {}
        }
    }

    fn set_phase(&mut self, phase: Phase) {
        self.phase = phase;
        let mut inner = self.desk.inner();
        inner.busy = matches!(phase, Phase::Opening(_) | Phase::Closing);
        inner.up = match (phase, &self.device) {
            (Phase::Open(epoch), Some(device)) => Some((epoch, device.clone())),
            // Opened once more after a restart of this actor: its device was up all the time.
            (Phase::Opening(epoch), _) => inner.up.take().filter(|(up, _)| *up == epoch),
            _ => None,
        };
    }

    fn path_says(&mut self, event: VolumeEvent) {
        match event {
            VolumeEvent::PeerMet { welcome, differing } => self.on(Event::PeerMet { welcome, differing }),
            VolumeEvent::PeerRefused { peer, why } => self.on(Event::PeerRefused { peer, why }),
            VolumeEvent::PeerLost { peer, why } => self.on(Event::PeerLost { peer, why }),
            VolumeEvent::PeerSlow { peer } => self.on(Event::PeerSlow { peer }),
            VolumeEvent::PeerAwaited { peer, over } => self.awaited(&peer, over),
            VolumeEvent::Synced { peer } => self.on(Event::Synced { peer }),
            VolumeEvent::DiskFailed { why } => self.on(Event::DiskFailed { why }),
            VolumeEvent::PeerDiskFailed { peer, why } => self.on(Event::PeerDiskFailed { peer, why }),
            VolumeEvent::Primary { server, epoch } => match server {
                Some(server) => {
                    tracing::info!(volume = %self.volume, %server, %epoch, "a primary was let in")
                }
                None => {
                    tracing::info!(volume = %self.volume, %epoch, "the primary is gone");
                    self.remember_failure();
                }
            },
            VolumeEvent::Verified(report) => {
                let text = match (&report.problem, report.different.len()) {
                    (Some(why), _) => format!("the check of the copies ended early: {why}"),
                    (None, 0) => format!("the copies are equal: {} bytes compared", report.compared),
                    (None, spans) => format!("TSK-1809: the copies differ in {spans} places"),
                };
                self.tell("mirror-verified", text);
                // A copy that is known to differ is no good one: it is out until what differs is copied.
                let mend = report.peer.clone().filter(|_| report.repaired && !report.different.is_empty());
                self.desk.inner().verified = Some(report);
                if let Some(peer) = mend {
                    self.on(Event::Wish(Wish::Rebuild { peer, full: true, discard: false }));
                }
            }
            VolumeEvent::Saved(Ok(path)) => {
                let text = format!("what only the copy here has was saved as {}", path.display());
                self.tell("mirror-saved", text);
            }
            VolumeEvent::Saved(Err(why)) => {
                let text = format!(
                    "TSK-1860: what only the copy here has cannot be saved, and so is not overwritten: {why}"
                );
                self.tell("mirror-not-saved", text);
            }
            VolumeEvent::DeviceLost(why) => {
                self.tell("mirror-device-lost", format!("the device went away: {why}"));
                self.desk.inner().end_use(&why);
            }
            VolumeEvent::Ended { why } => self.ended(&why),
        }
    }

    /// The data path has ended by a fault of its own: whoever uses the volume is told, and the copy is
    /// opened again, as after the end of a process.
    fn ended(&mut self, why: &str) {
        if self.machine.is_none() {
            return; // it is being opened again
        }
        self.tell("mirror-ended", format!("TSK-1870: the data path has ended, and is opened again: {why}"));
        let tasks = self.listening.take().into_iter().chain(self.watching.take());
        tasks.chain(std::mem::take(&mut self.wakes).into_values()).for_each(|task| task.abort());
        self.called.clear();
        (self.machine, self.orders, self.device) = (None, None, None);
        let open = {
            let mut inner = self.desk.inner();
            inner.wanted = None;
            inner.end_use("the volume's data path has ended");
            inner.answer_promoting(|| Err(VolumeError::Ended.into()));
            inner.open.take()
        };
        self.set_phase(Phase::Closed);
        self.close_and_open(open.map(|(path, _)| path));
        self.reconcile();
    }

    /// The settings say to wait for a peer that does not answer: not without a word.
    fn awaited(&mut self, peer: &ServerName, over: bool) {
        let waits = format!(
            "TSK-1862: writes wait for the copy on {peer}, which does not answer: `peer_timeout` says to wait"
        );
        self.desk.inner().problem = (!over).then(|| waits.clone());
        let text = if over { format!("writes no longer wait for the copy on {peer}") } else { waits };
        self.tell("mirror-waits", text);
    }

    fn answers(&mut self, answers: bool) {
        let silent = "TSK-1871: the data path does not answer";
        let mut inner = self.desk.inner();
        inner.problem = (!answers).then(|| silent.to_owned());
        drop(inner);
        let text = if answers { "the data path answers again" } else { silent };
        self.tell("mirror-silent", text.to_owned());
    }

    fn attached(&mut self, attached: Result<PathBuf, VolumeError>) {
        match attached {
            Ok(device) => {
                self.device = Some(device);
                self.on(Event::Attached);
            }
            Err(error) => self.on(Event::AttachFailed { why: error.to_string() }),
        }
    }

    /// The data path is a secondary again, after a closing or an opening that failed.
    fn let_go(&mut self) {
        self.device = None;
        self.called.clear();
        self.desk.inner().problem = None;
        self.set_phase(Phase::Closed);
        self.open_anew();
        self.reconcile();
    }

    fn on(&mut self, event: Event) {
        let Some(machine) = &mut self.machine else { return };
        tracing::debug!(volume = %self.volume, ?event, "mirror");
        let actions = machine.on(event);
        self.desk.inner().apart = machine.apart();
        for action in actions {
            self.perform(action);
        }
    }

    /// The only place with effects.
    fn perform(&mut self, action: Action) {
        tracing::debug!(volume = %self.volume, ?action, "mirror");
        match action {
            Action::StoreEpoch(epoch) => {
                self.epoch = epoch;
                self.order(Order::StoreEpoch(epoch));
            }
            Action::StoreStep { generation, by } => self.order(Order::StoreStep { generation, by }),
            Action::Connect { peer, epoch } => {
                if let (Some(path), Some(config)) = (self.desk.path(), &self.config) {
                    let at = places_of(&self.context.config(), &config.disk, &peer);
                    path.connect(&peer, &at, epoch);
                    self.called.insert(peer, (at, epoch));
                }
            }
            Action::Disconnect { peer } => {
                self.called.remove(&peer);
                if let Some(path) = self.desk.path() {
                    path.disconnect(&peer);
                }
            }
            Action::SetPeer { peer, mode } => self.order(Order::SetPeer { peer, mode }),
            Action::Propose { command, read } => self.propose(command, read),
            Action::StartResync { peer, full, save } => {
                self.order(Order::StartResync { peer, full, save });
            }
            Action::PauseResync { peer, rest } => self.order(Order::PauseResync { peer, rest }),
            Action::StopResync { peer } => self.order(Order::StopResync { peer }),
            Action::Attach => self.order(Order::Attach(self.epoch)),
            Action::Detach => self.order(Order::Detach),
            Action::GoDiskless { through } => self.order(Order::GoDiskless { through }),
            Action::FailIo => {
                if let Some(path) = self.desk.path() {
                    path.fail_io();
                }
                // Whoever uses it is told; nobody else would close it after an ownership that is over.
                let mut inner = self.desk.inner();
                inner.wanted = None;
                inner.end_use("the volume may no longer be used here");
                drop(inner);
                self.me_again();
            }
            Action::Promoted(promoted) => self.promoted(promoted),
            Action::Demoted => self.order(Order::LetGo),
            Action::Wake(wake) => self.wake(wake),
            Action::Tell(note) => {
                let (kind, text) = told::words(&note);
                self.tell(kind, text);
            }
        }
    }

    /// What is wanted has changed while an event was being handled.
    fn me_again(&self) {
        let _gone = self.me.cast(MirrorMsg::Wanted);
    }

    fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            orders.give(order);
        }
    }

    fn promoted(&mut self, promoted: Result<(), NotPromoted>) {
        match promoted {
            Ok(()) => {
                if let Phase::Opening(epoch) = self.phase {
                    self.set_phase(Phase::Open(epoch));
                }
                self.reconcile();
            }
            Err(why) => {
                let mut inner = self.desk.inner();
                inner.answer_promoting(|| Err(why.clone().into()));
                if self.phase == Phase::Closing {
                    return; // `Demoted` follows
                }
                inner.wanted = None;
                inner.end_use(&why.to_string());
                drop(inner);
                self.set_phase(Phase::Closing);
                self.order(Order::LetGo);
            }
        }
    }

    fn propose(&self, command: VolumeCommand, read: Option<Revision>) {
        let (context, me, volume) = (self.context.clone(), self.me.clone(), self.volume.clone());
        tokio::spawn(async move {
            let whole = Command::Volume { volume: volume.clone(), command: command.clone() };
            let read = vec![(Key::Volume(volume.clone()), read.unwrap_or_default())];
            let author = Author::Server(context.me().clone());
            let outcome = match propose(&context, author, whole, None, read).await {
                Ok(accepted) => Outcome::Accepted(accepted.revision),
                Err(RegistryError::Refused(why)) => {
                    tracing::info!(%volume, %command, %why, "refused");
                    Outcome::Refused
                }
                Err(error) => {
                    tracing::warn!(%volume, %command, %error, "not known to be done");
                    Outcome::Unclear
                }
            };
            let _gone = me.cast(MirrorMsg::Event(Event::Outcome { command, outcome }));
        });
    }

    fn wake(&mut self, wake: Wake) {
        let timing = self.context.timing();
        let after = match wake {
            // Only those are waited for whom the registry has as up: who does not answer in the time in
            // which a lost server is noticed is put out.
            Wake::Meet => timing.detect.max(Duration::from_millis(500)),
            Wake::Again => timing.beat.max(Duration::from_millis(20)),
            Wake::Patience => timing.beat,
        };
        let me = self.me.clone();
        let task = tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let _gone = me.cast(MirrorMsg::Event(Event::Woken(wake)));
        });
        if let Some(before) = self.wakes.insert(wake, task) {
            before.abort();
        }
    }

    fn tell(&self, kind: &str, text: String) {
        self.context.tell(kind, format!("volume/{}", self.volume), text);
    }
}
