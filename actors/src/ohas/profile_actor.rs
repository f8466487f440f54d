//! Keeps this server's copies of the profile in step with the registry.
//!
//! Started by the root; owns the number of the profile that was kept last. Lost at a restart: that
//! number, so that the profile is kept once more.

use std::{sync::Arc, time::Duration};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tasuki_core::{config::profile::Profile, ids::Revision};

use crate::{context::Context, follow::Follow};

/// Between two tries to keep what could not be kept.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// What the profile actor is told.
#[derive(Debug)]
pub enum ProfileMsg {
    /// The registry has changed, or it is time to try again.
    Look,
    /// What became of keeping the profile of this number.
    Kept(Revision, Result<(), String>),
}

/// The actor.
pub struct ProfileActor;

/// Its state.
pub struct State {
    context: Arc<Context>,
    kept: Revision,
    busy: bool,
    _follow: [Follow; 2],
}

impl Actor for ProfileActor {
    type Msg = ProfileMsg;
    type State = State;
    type Arguments = Arc<Context>;

    async fn pre_start(
        &self,
        me: ActorRef<ProfileMsg>,
        context: Arc<Context>,
    ) -> Result<State, ActorProcessingErr> {
        let follow = [
            Follow::changes(context.registry.subscribe(), me.clone(), || ProfileMsg::Look),
            Follow::beats(TRY_AGAIN, me, || ProfileMsg::Look),
        ];
        // What was adopted at the start is kept already; a registry that is older is not followed.
        let kept = context.ports.profile.adopted().map_or(Revision(0), |profile| profile.sequence);
        Ok(State { context, kept, busy: false, _follow: follow })
    }

    async fn handle(
        &self,
        me: ActorRef<ProfileMsg>,
        message: ProfileMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ProfileMsg::Look => state.look(&me),
            ProfileMsg::Kept(sequence, outcome) => {
                state.busy = false;
                match outcome {
                    Ok(()) => {
                        state.kept = sequence;
                        state.context.tell("profile", "cluster", format!("profile {sequence} is kept"));
                        state.look(&me); // it may have changed meanwhile
                    }
                    Err(error) => tracing::error!("the profile was not kept: {error}"),
                }
            }
        }
        Ok(())
    }
}

impl State {
    fn look(&mut self, me: &ActorRef<ProfileMsg>) {
        let registry = self.context.state();
        if self.busy || Profile::sequence_of(&registry) <= self.kept {
            return;
        }
        let Some(profile) = Profile::of(&registry) else { return };
        self.busy = true;
        let (keeper, me) = (self.context.ports.profile.clone(), me.clone());
        tokio::spawn(async move {
            let sequence = profile.sequence;
            let outcome = keeper.keep(profile).await;
            let _ = me.cast(ProfileMsg::Kept(sequence, outcome));
        });
    }
}
