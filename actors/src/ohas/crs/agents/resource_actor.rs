//! One resource on this server: starts, stops and probes it through its agent.
//!
//! Started by its role's supervisor; owns the operation under way, and then the watch over what is up.
//! Lost at a restart: the watch for the resource's end, its checks, and the operation: the group actor is told `AgentReady` and asks again. An
//! operation that finds its work done says so: nothing is started or stopped twice.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::{sync::oneshot, task::JoinHandle};

use super::{
    ResourceKey,
    check::{self, Checked},
};
use crate::{
    context::Context,
    ohas::crs::groups::group_actor::GroupMsg,
    ports::{AgentError, Probe, ResourceOrder},
    supervise::Slot,
};

/// What a resource actor is told.
#[derive(Clone, Debug)]
pub enum ResourceMsg {
    /// Look whether it runs, and adopt it if so.
    Probe(ResourceOrder),
    /// Start it.
    Start(ResourceOrder),
    /// Stop it; a start under way is abandoned.
    Stop(ResourceOrder),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A probe: it runs, or not.
    Probed(Result<bool, String>),
    /// A start.
    Started(Result<(), String>),
    /// A stop.
    Stopped(Result<(), String>),
    /// It ended by itself.
    Ended(String),
    /// What its check said.
    Checked(Checked),
}

/// The actor.
pub struct ResourceActor;

/// Its state.
pub struct State {
    context: Arc<Context>,
    key: ResourceKey,
    group: Slot<GroupMsg>,
    under_way: Option<JoinHandle<()>>,
}

impl Drop for State {
    fn drop(&mut self) {
        if let Some(task) = &self.under_way {
            task.abort();
        }
    }
}

impl Actor for ResourceActor {
    type Msg = ResourceMsg;
    type State = State;
    type Arguments = (Arc<Context>, ResourceKey, Slot<ResourceMsg>, Slot<GroupMsg>);

    async fn pre_start(
        &self,
        me: ActorRef<ResourceMsg>,
        (context, key, slot, group): Self::Arguments,
    ) -> Result<State, ActorProcessingErr> {
        slot.set(me);
        group.cast(GroupMsg::AgentReady(key.1.clone()));
        Ok(State { context, key, group, under_way: None })
    }

    async fn handle(
        &self,
        _me: ActorRef<ResourceMsg>,
        message: ResourceMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        if let Some(before) = state.under_way.take() {
            before.abort();
            let _ = before.await; // it must not run beside what follows
        }
        let (context, group) = (state.context.clone(), state.group.clone());
        let (resource, epoch) = (state.key.1.clone(), epoch_of(&message));
        let say = move |outcome| {
            group.cast(GroupMsg::Outcome(resource.clone(), epoch, outcome));
        };
        state.under_way = Some(tokio::spawn(async move {
            let agent = &context.ports.agent;
            match message {
                ResourceMsg::Probe(order) => match agent.probe(&order).await {
                    Ok(Probe::Running(ended)) => {
                        say(Outcome::Probed(Ok(true)));
                        while_up(&context, &order, ended, say).await;
                    }
                    Ok(Probe::Stopped) => say(Outcome::Probed(Ok(false))),
                    Err(error) => say(Outcome::Probed(Err(error.to_string()))),
                },
                // What is up already is adopted by the agent, so asking twice starts nothing twice.
                ResourceMsg::Start(order) => match agent.start(&order).await {
                    Ok(ended) => {
                        say(Outcome::Started(Ok(())));
                        while_up(&context, &order, ended, say).await;
                    }
                    Err(error) => say(Outcome::Started(Err(text(&error)))),
                },
                ResourceMsg::Stop(order) => {
                    let stopped = agent.stop(&order).await;
                    say(Outcome::Stopped(stopped.map_err(|error| text(&error))));
                }
            }
        }));
        Ok(())
    }
}

fn epoch_of(message: &ResourceMsg) -> tasuki_core::ids::Epoch {
    match message {
        ResourceMsg::Probe(order) | ResourceMsg::Start(order) | ResourceMsg::Stop(order) => order.epoch,
    }
}

fn text(error: &AgentError) -> String {
    error.to_string()
}

/// Waits for its end, and checks it, until something else is asked of it.
async fn while_up(
    context: &Context,
    order: &ResourceOrder,
    ended: Option<oneshot::Receiver<String>>,
    say: impl Fn(Outcome),
) {
    let end = async {
        if let Some(ended) = ended
            && let Ok(how) = ended.await
        {
            say(Outcome::Ended(how));
        }
        std::future::pending().await
    };
    tokio::select! {
        () = end => {}
        never = check::run(context, order, |checked| say(Outcome::Checked(checked))) => match never {},
    }
}
