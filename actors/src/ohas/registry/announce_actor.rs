//! Says which words of the registry this member's program reads, and ends a program that is too old.
//!
//! Started by the registry's supervisor, of a server and of a witness; owns nothing that a restart
//! loses.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tasuki_core::registry::{Author, Command, State as Registry};

use crate::{context::Context, follow::Follow, propose::propose};

/// What the announcer is told.
#[derive(Debug)]
pub enum AnnounceMsg {
    /// The registry has changed, or it is time to try again.
    Look,
    /// The others know, or it has to be said again.
    Told,
}

/// The actor.
pub struct AnnounceActor;

/// Its state.
pub struct State {
    context: Arc<Context>,
    telling: bool,
    ended: bool,
    _follow: [Follow; 2],
}

impl Actor for AnnounceActor {
    type Msg = AnnounceMsg;
    type State = State;
    type Arguments = Arc<Context>;

    async fn pre_start(
        &self,
        me: ActorRef<AnnounceMsg>,
        context: Arc<Context>,
    ) -> Result<State, ActorProcessingErr> {
        let follow = [
            Follow::changes(context.registry.subscribe(), me.clone(), || AnnounceMsg::Look),
            Follow::beats(context.timing().detect, me, || AnnounceMsg::Look),
        ];
        Ok(State { context, telling: false, ended: false, _follow: follow })
    }

    async fn handle(
        &self,
        me: ActorRef<AnnounceMsg>,
        message: AnnounceMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            AnnounceMsg::Look => state.look(&me),
            AnnounceMsg::Told => state.telling = false,
        }
        Ok(())
    }
}

impl State {
    fn look(&mut self, me: &ActorRef<AnnounceMsg>) {
        let registry = self.context.state();
        if let Err(why) = readable(&self.context, &registry) {
            if !self.ended {
                self.ended = true;
                let object = format!("server/{}", self.context.me());
                self.context.tell("program-too-old", object, &why);
                self.context.ports.guard.stand_down(&why);
            }
            return;
        }
        let Some(command) = announcement(&self.context, &registry).filter(|_| !self.telling) else { return };
        self.telling = true;
        let (context, me) = (self.context.clone(), me.clone());
        tokio::spawn(async move {
            let author = Author::Server(context.me().clone());
            if let Err(error) = propose(&context, author, command, None, Vec::new()).await {
                tracing::debug!(%error, "the others do not know yet what this program reads");
            }
            let _ = me.cast(AnnounceMsg::Told); // the actor may have ended
        });
    }
}

/// What a program that is too old must not go on with.
pub(super) fn readable(context: &Context, registry: &Registry) -> Result<(), String> {
    let (speaks, level) = (context.options.speaks.level, registry.level());
    if speaks >= level {
        return Ok(());
    }
    Err(format!("TSK-1841: this program reads level {speaks} of the registry, which is at {level}"))
}

/// What has to be said, if anything: of the incarnation that the registry knows (R5).
fn announcement(context: &Context, registry: &Registry) -> Option<Command> {
    let server = context.me().clone();
    let presence = registry.presence(&server)?;
    let mine = *context.incarnation.borrow();
    let presented = mine.0 > 0 && presence.incarnation == mine;
    if presence.raft_id != context.options.raft_id || (context.options.role.runs_groups() && !presented) {
        return None;
    }
    let speaks = &context.options.speaks;
    (presence.speaks.as_ref() != Some(speaks)).then(|| Command::Announce {
        server,
        incarnation: presence.incarnation,
        speaks: speaks.clone(),
    })
}
