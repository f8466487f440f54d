//! The mirrored volumes of this server: one actor each, as the configuration says.
//!
//! An actor decides nothing and moves no bytes: it hands what happens to the core's machine, and what
//! that answers to the volume's data path. The data path stays open while its actor restarts.

mod desk;
mod handle;
pub mod mirror_actor;
mod orders;
mod told;
mod watch;
mod wiring;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tasuki_core::ids::VolumeName;

use self::{
    desk::Desk,
    mirror_actor::{MirrorActor, MirrorMsg},
};
pub use self::{
    handle::{MirrorError, MirrorView, MirrorsHandle, Promoted},
    wiring::{Configured, configured, network_of, places_of},
};
use crate::{
    context::Context,
    follow::Follow,
    supervise::{Child, Intensity, Slot, Strategy, SupervisorMsg, SupervisorSpec},
};

/// The mirrors' actors of one node, and what outlives them.
#[derive(Default)]
pub struct Mirrors {
    supervisor: Slot<SupervisorMsg>,
    keeper: Slot<MirrorsMsg>,
    desks: Mutex<BTreeMap<VolumeName, Arc<Desk>>>,
}

impl Mirrors {
    /// What is kept of a volume here.
    fn desk(&self, volume: &VolumeName) -> Option<Arc<Desk>> {
        self.desks.lock().unwrap_or_else(PoisonError::into_inner).get(volume).cloned()
    }

    /// All volumes with a copy here.
    fn all(&self) -> Vec<(VolumeName, Arc<Desk>)> {
        let desks = self.desks.lock().unwrap_or_else(PoisonError::into_inner);
        desks.iter().map(|(name, desk)| (name.clone(), desk.clone())).collect()
    }

    /// The actor of a volume.
    pub fn actor(&self, volume: &VolumeName) -> Option<ActorRef<MirrorMsg>> {
        self.desk(volume)?.slot.get()
    }
}

/// The table of mirrors; they come and go with the configuration.
pub fn children(context: &Arc<Context>) -> SupervisorSpec {
    let all = context.mirrors.all();
    SupervisorSpec {
        name: "mirrors".into(),
        strategy: Strategy::OneForOne,
        limit: Intensity::default(),
        children: all.iter().map(|(name, desk)| child(context, name, desk)).collect(),
        clock: context.ports.clock.clone(),
        slot: Some(context.mirrors.supervisor.clone()),
    }
}

fn name_of(volume: &VolumeName) -> String {
    format!("mirror {volume}")
}

fn child(context: &Arc<Context>, volume: &VolumeName, desk: &Arc<Desk>) -> Child {
    let (context, volume, desk) = (context.clone(), volume.clone(), desk.clone());
    Child::worker(name_of(&volume), move || (MirrorActor, (context.clone(), volume.clone(), desk.clone())))
}

/// What the mirrors' keeper is told.
#[derive(Debug)]
pub enum MirrorsMsg {
    /// The registry has changed, or a volume is open no more.
    Look,
}

/// Keeps one actor for each volume with a copy here. Started by the root; owns nothing. A volume that
/// is configured no more is kept until nobody has it open.
pub struct MirrorsActor;

/// Its state.
pub struct State {
    context: Arc<Context>,
    _registry: Follow,
}

impl Actor for MirrorsActor {
    type Msg = MirrorsMsg;
    type State = State;
    type Arguments = Arc<Context>;

    async fn pre_start(
        &self,
        me: ActorRef<MirrorsMsg>,
        context: Arc<Context>,
    ) -> Result<State, ActorProcessingErr> {
        context.mirrors.keeper.set(me.clone());
        let registry = Follow::changes(context.registry.subscribe(), me, || MirrorsMsg::Look);
        let state = State { context, _registry: registry };
        state.reconcile();
        Ok(state)
    }

    async fn handle(
        &self,
        _me: ActorRef<MirrorsMsg>,
        MirrorsMsg::Look: MirrorsMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        state.reconcile();
        Ok(())
    }
}

impl State {
    fn reconcile(&self) {
        let (context, mirrors) = (&self.context, &self.context.mirrors);
        let wanted = configured(&context.state(), context.me());
        let mut desks = mirrors.desks.lock().unwrap_or_else(PoisonError::into_inner);
        desks.retain(|name, desk| {
            let stays = wanted.contains_key(name) || desk.is_in_use();
            if stays {
                desk.slot.cast(MirrorMsg::Registry);
            } else {
                mirrors.supervisor.cast(SupervisorMsg::Remove(name_of(name)));
                desk.close();
            }
            stays
        });
        for name in wanted.keys() {
            if !desks.contains_key(name) {
                let desk = Arc::new(Desk::default());
                let child = child(context, name, &desk);
                desks.insert(name.clone(), desk);
                mirrors.supervisor.cast(SupervisorMsg::Add(child));
            }
        }
    }
}
