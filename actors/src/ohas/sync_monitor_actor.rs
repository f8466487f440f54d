//! The second pair of eyes: whether the synchronisation service, and the parts that act on the
//! registry, still move (R8, O9).
//!
//! Started by the root; owns the time of the last answers. A synchronisation service that does not
//! move for a whole lease hangs: the guard is told, as the synchronisation agent tells it, whose gap
//! this monitor covers while that one is started again. Group actors that do not answer for a lease
//! cost this server its lease: a half-hung node must not keep it. The guard watches this monitor too.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tasuki_core::{membership::hang::Watched, time::Timestamp};

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
        let beats = Follow::beats(context.timing().lease / 8, me, || MonitorMsg::Beat);
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
                state.context.ports.guard.alive(Watched::Monitor);
                state.watch_sync(now);
                state.context.groups_actor.cast(GroupsMsg::Ping(me));
            }
        }
        state.watch_groups(now);
        Ok(())
    }
}

impl State {
    fn watch_sync(&self, now: Timestamp) {
        let moved = self.context.sync_moved.load(Ordering::Relaxed);
        let lease = self.context.timing().lease;
        let Some(silent) = hang(moved, now, lease) else { return };
        let why = format!("did not move for {} ms", silent.as_millis());
        self.context.ports.guard.hangs(Watched::Sync, &why);
        // Once: whoever is told acts.
        self.context.sync_moved.store(now.0, Ordering::Relaxed);
        let object = format!("server/{}", self.context.me());
        self.context.tell("not-moving", object, format!("{} {why}", Watched::Sync));
    }

    fn watch_groups(&self, now: Timestamp) {
        let healthy = now.since(self.answered) <= self.context.timing().lease;
        if self.context.healthy.swap(healthy, Ordering::Relaxed) && !healthy {
            let object = format!("server/{}", self.context.me());
            self.context.tell(
                "not-moving",
                object,
                "the group actors do not answer: the lease is not renewed",
            );
        }
    }
}

/// For how long the synchronisation service has not moved, if that is too long. Zero: it has not
/// begun.
fn hang(moved: u64, now: Timestamp, lease: Duration) -> Option<Duration> {
    let silent = now.since(Timestamp(moved));
    (moved > 0 && silent >= lease).then_some(silent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o9_the_service_hangs_when_it_has_begun_and_not_moved_for_a_lease() {
        let lease = Duration::from_millis(800);
        let at = |millis: u64| Timestamp(millis * 1_000_000);
        assert_eq!(hang(0, at(5000), lease), None);
        assert_eq!(hang(at(100).0, at(899), lease), None);
        assert_eq!(hang(at(100).0, at(900), lease), Some(lease));
    }
}
