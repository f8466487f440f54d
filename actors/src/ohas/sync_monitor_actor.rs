//! The second pair of eyes: whether the parts that act on the registry still move (R8).
//!
//! Started by the root; owns the time of the last answers. A part that does not answer for a whole
//! lease costs this server its lease: a half-hung node must not keep it.

use std::sync::{Arc, atomic::Ordering};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tasuki_core::time::Timestamp;

use crate::{context::Context, follow::Follow, ohas::crs::groups::GroupsMsg};

/// What the monitor is told.
#[derive(Debug)]
pub enum MonitorMsg {
    /// Time to ask.
    Beat,
    /// The groups' supervisor has answered.
    Moving,
}

/// The actor.
pub struct SyncMonitorActor;

/// Its state.
pub struct State {
    context: Arc<Context>,
    answered: Timestamp,
    _beats: Follow,
}

impl Actor for SyncMonitorActor {
    type Msg = MonitorMsg;
    type State = State;
    type Arguments = Arc<Context>;

    async fn pre_start(
        &self,
        me: ActorRef<MonitorMsg>,
        context: Arc<Context>,
    ) -> Result<State, ActorProcessingErr> {
        let answered = context.ports.clock.now();
        let beats = Follow::beats(context.timing().lease / 4, me, || MonitorMsg::Beat);
        Ok(State { context, answered, _beats: beats })
    }

    async fn handle(
        &self,
        me: ActorRef<MonitorMsg>,
        message: MonitorMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let now = state.context.ports.clock.now();
        match message {
            MonitorMsg::Moving => state.answered = now,
            MonitorMsg::Beat => {
                state.context.groups_actor.cast(GroupsMsg::Ping(me));
            }
        }
        let healthy = now.since(state.answered) <= state.context.timing().lease;
        if state.context.healthy.swap(healthy, Ordering::Relaxed) && !healthy {
            let object = format!("server/{}", state.context.me());
            state.context.tell(
                "not-moving",
                object,
                "the group actors do not answer: the lease is not renewed",
            );
        }
        Ok(())
    }
}
