//! One mirrored volume on this server.
//!
//! Started by the mirrors' supervisor; owns the core's [`Mirror`] and its timers. Lost at a restart:
//! how far an opening or a resync was. The data path stays open, and with it the device; a volume that
//! is open here is opened once more under the next epoch, and goes on.
//!
//! `opening` opens the copy here, `failed` remembers a disk that failed, `said` hears the data path, and
//! `perform` does what the core has decided.

mod failed;
mod opening;
mod perform;
mod said;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tasuki_core::{
    ids::{Epoch, ServerName, VolumeName},
    mirror::state::{Event, Mirror, Wake, Wish},
    registry::State as Registry,
};
use tokio::task::JoinHandle;

use super::{Configured, MirrorsMsg, configured, desk::Desk, handle::MirrorError, orders::Orders};
use crate::{
    context::Context,
    ports::volumes::{OpenedVolume, VolumeError, VolumeEvent},
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
}
