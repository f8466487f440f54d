//! The monitors of this server: one actor each, as the configuration says.

mod look;
mod mirror;
pub mod monitor_actor;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tasuki_core::ids::MonitorName;

use self::monitor_actor::{MonitorActor, WatchMsg};
use crate::{
    context::Context,
    follow::Follow,
    supervise::{Child, Intensity, Slot, Strategy, SupervisorMsg, SupervisorSpec},
};

/// The monitors' actors of one node.
#[derive(Default)]
pub struct Monitors {
    supervisor: Slot<SupervisorMsg>,
    configured: Mutex<BTreeMap<MonitorName, Slot<WatchMsg>>>,
}

impl Monitors {
    /// The actor of a monitor.
    pub fn actor(&self, monitor: &MonitorName) -> Option<ActorRef<WatchMsg>> {
        self.configured.lock().unwrap_or_else(PoisonError::into_inner).get(monitor)?.get()
    }
}

/// The table of monitors; they come and go with the configuration.
pub fn children(context: &Arc<Context>) -> SupervisorSpec {
    let configured = context.monitors.configured.lock().unwrap_or_else(PoisonError::into_inner);
    SupervisorSpec {
        name: "monitors".into(),
        strategy: Strategy::OneForOne,
        limit: Intensity::default(),
        children: configured.iter().map(|(name, slot)| child(context, name, slot)).collect(),
        clock: context.ports.clock.clone(),
        slot: Some(context.monitors.supervisor.clone()),
    }
}

fn name_of(monitor: &MonitorName) -> String {
    format!("monitor {monitor}")
}

fn child(context: &Arc<Context>, monitor: &MonitorName, slot: &Slot<WatchMsg>) -> Child {
    let (context, monitor, slot) = (context.clone(), monitor.clone(), slot.clone());
    Child::worker(name_of(&monitor), move || (MonitorActor, (context.clone(), monitor.clone(), slot.clone())))
}

/// What the monitors' keeper is told.
#[derive(Debug)]
pub enum MonitorsMsg {
    /// The registry has changed.
    Registry,
}

/// Keeps one actor for each configured monitor. Started by the resource services; owns nothing.
pub struct MonitorsActor;

/// Its state.
pub struct State {
    context: Arc<Context>,
    _registry: Follow,
}

impl Actor for MonitorsActor {
    type Msg = MonitorsMsg;
    type State = State;
    type Arguments = Arc<Context>;

    async fn pre_start(
        &self,
        me: ActorRef<MonitorsMsg>,
        context: Arc<Context>,
    ) -> Result<State, ActorProcessingErr> {
        let registry = Follow::changes(context.registry.subscribe(), me, || MonitorsMsg::Registry);
        let state = State { context, _registry: registry };
        state.reconcile();
        Ok(state)
    }

    async fn handle(
        &self,
        _me: ActorRef<MonitorsMsg>,
        MonitorsMsg::Registry: MonitorsMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        state.reconcile();
        Ok(())
    }
}

impl State {
    fn reconcile(&self) {
        let (context, monitors) = (&self.context, &self.context.monitors);
        let registry = context.state();
        let mut configured = monitors.configured.lock().unwrap_or_else(PoisonError::into_inner);
        configured.retain(|name, slot| {
            let stays = registry.monitors.contains_key(name);
            if stays {
                slot.cast(WatchMsg::Registry);
            } else {
                monitors.supervisor.cast(SupervisorMsg::Remove(name_of(name)));
            }
            stays
        });
        for name in registry.monitors.keys() {
            if !configured.contains_key(name) {
                let slot = Slot::default();
                let child = child(context, name, &slot);
                configured.insert(name.clone(), slot);
                monitors.supervisor.cast(SupervisorMsg::Add(child));
            }
        }
    }
}
