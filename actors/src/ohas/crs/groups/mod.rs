//! The groups that this server owns: one actor each, as the registry says.

pub mod group_actor;
mod live;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tasuki_core::ids::{Epoch, GroupName};
use tokio::sync::watch;

pub use self::live::{Live, LiveMap};
use self::{
    group_actor::{GroupActor, GroupMsg},
    live::LiveResources,
};
use crate::{
    context::Context,
    follow::Follow,
    ohas::crs::agents::ResourceKey,
    ohas::sync_monitor_actor::MonitorMsg,
    supervise::{Child, Intensity, Slot, Strategy, SupervisorMsg, SupervisorSpec},
};

/// The group actors of one node.
#[derive(Default)]
pub struct Groups {
    supervisor: Slot<SupervisorMsg>,
    owned: Mutex<BTreeMap<(GroupName, Epoch), Slot<GroupMsg>>>,
    live: LiveResources,
}

impl Groups {
    /// The actor of an ownership.
    pub fn actor(&self, group: &GroupName, epoch: Epoch) -> Option<ActorRef<GroupMsg>> {
        let owned = self.owned.lock().unwrap_or_else(PoisonError::into_inner);
        owned.get(&(group.clone(), epoch))?.get()
    }

    /// What runs on this server, as the group actors see it.
    pub fn live(&self) -> watch::Receiver<LiveMap> {
        self.live.subscribe()
    }
}

/// The table of group actors; they come and go with ownership.
pub fn children(context: &Arc<Context>) -> SupervisorSpec {
    let owned = context.groups.owned.lock().unwrap_or_else(PoisonError::into_inner);
    SupervisorSpec {
        name: "groups".into(),
        strategy: Strategy::OneForOne,
        limit: Intensity::default(),
        children: owned.iter().map(|(key, slot)| child(context, key, slot)).collect(),
        clock: context.ports.clock.clone(),
        slot: Some(context.groups.supervisor.clone()),
    }
}

fn name_of((group, epoch): &(GroupName, Epoch)) -> String {
    format!("group {group} epoch {epoch}")
}

fn child(context: &Arc<Context>, key: &(GroupName, Epoch), slot: &Slot<GroupMsg>) -> Child {
    let (context, key, slot) = (context.clone(), key.clone(), slot.clone());
    Child::worker(name_of(&key), move || (GroupActor, (context.clone(), key.0.clone(), key.1, slot.clone())))
}

/// What the groups' keeper is told.
#[derive(Debug)]
pub enum GroupsMsg {
    /// The registry or the lease has changed.
    Registry,
    /// What a lease's end has left here, and under which ownership.
    Left(Vec<(ResourceKey, Epoch)>),
    /// Do you still move?
    Ping(ActorRef<MonitorMsg>),
}

/// Keeps one group actor for each ownership of this server.
pub struct GroupsActor;

/// Its state.
pub struct State {
    context: Arc<Context>,
    /// What a lease's end has left here and nobody has looked after yet.
    left: Vec<(ResourceKey, Epoch)>,
    _follow: [Follow; 2],
}

impl Actor for GroupsActor {
    type Msg = GroupsMsg;
    type State = State;
    type Arguments = Arc<Context>;

    async fn pre_start(
        &self,
        me: ActorRef<GroupsMsg>,
        context: Arc<Context>,
    ) -> Result<State, ActorProcessingErr> {
        context.groups_actor.set(me.clone());
        let follow = [
            Follow::changes(context.registry.subscribe(), me.clone(), || GroupsMsg::Registry),
            Follow::changes(context.lease.subscribe(), me.clone(), || GroupsMsg::Registry),
        ];
        look_for_what_was_left(&context, me);
        let mut state = State { context, left: Vec::new(), _follow: follow };
        state.reconcile();
        Ok(state)
    }

    async fn handle(
        &self,
        _me: ActorRef<GroupsMsg>,
        message: GroupsMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            GroupsMsg::Registry => state.reconcile(),
            GroupsMsg::Left(left) => {
                state.left = left;
                state.reconcile();
            }
            GroupsMsg::Ping(who) => {
                let _ = who.cast(MonitorMsg::Moving); // the monitor may be restarting
            }
        }
        Ok(())
    }
}

impl State {
    fn reconcile(&mut self) {
        let (context, groups) = (&self.context, &self.context.groups);
        let registry = context.state();
        let mine: Vec<(GroupName, Epoch)> = registry
            .owned_by(context.me())
            .map(|(name, entry)| (name.clone(), entry.ownership.value.epoch))
            .collect();
        let mut owned = groups.owned.lock().unwrap_or_else(PoisonError::into_inner);
        owned.retain(|key, _| {
            let stays = mine.contains(key);
            if !stays {
                groups.live.forget(&key.0);
                groups.supervisor.cast(SupervisorMsg::Remove(name_of(key)));
            }
            stays
        });
        for key in mine {
            match owned.get(&key) {
                Some(slot) => {
                    slot.cast(GroupMsg::Registry);
                }
                None => {
                    let slot = Slot::default();
                    let child = child(context, &key, &slot);
                    owned.insert(key, slot);
                    groups.supervisor.cast(SupervisorMsg::Add(child));
                }
            }
        }
        drop(owned);
        self.clean_up_what_was_left();
    }

    /// A lease's end leaves what is frozen or only reads. Who still owns its group has it go on; what
    /// is of an ownership that is over ends here. A grant says that the registry here is as far as the
    /// leader's was (R4).
    fn clean_up_what_was_left(&mut self) {
        if self.left.is_empty() || !self.context.holds_lease() {
            return;
        }
        let registry = self.context.state();
        let mine = |group: &GroupName, epoch: Epoch| {
            registry
                .owned_by(self.context.me())
                .any(|(name, entry)| name == group && entry.ownership.value.epoch == epoch)
        };
        for ((group, resource), epoch) in std::mem::take(&mut self.left) {
            if mine(&group, epoch) {
                continue;
            }
            // Of a later ownership of this server: its start ends what it finds first.
            if registry.owned_by(self.context.me()).any(|(name, _)| *name == group) {
                continue;
            }
            let context = self.context.clone();
            tokio::spawn(async move {
                let text =
                    format!("{resource} was left at a lease's end; {group} is not owned here any more");
                context.tell("left-over-ended", format!("group/{group}"), text);
                if let Err(error) = context.ports.agent.end_left(&group, &resource, epoch).await {
                    tracing::error!(%group, %resource, %error, "what a lease's end left was not ended");
                }
            });
        }
    }
}

fn look_for_what_was_left(context: &Arc<Context>, me: ActorRef<GroupsMsg>) {
    let context = context.clone();
    tokio::spawn(async move {
        match context.ports.agent.left_at_lease_end().await {
            Ok(left) => {
                let left = left.into_iter().map(|(group, name, epoch)| ((group, name), epoch)).collect();
                let _ = me.cast(GroupsMsg::Left(left)); // it may be restarting, and then asks again
            }
            Err(error) => tracing::error!(%error, "what a lease's end left here cannot be found out"),
        }
    });
}
