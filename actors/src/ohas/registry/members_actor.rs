//! Keeps Raft's members in step with the servers that have joined, and the tie-break record of two
//! in step with them. Acts on the leader only.
//!
//! Started by the registry's supervisor; owns nothing that a restart loses.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tasuki_core::{
    ids::Term,
    membership::{
        roster::{self, Found},
        voters::Absences,
    },
    registry::level::next_level,
    time::Timestamp,
};
use tokio::task::JoinHandle;

use super::{
    members_step::{Done, Step},
    raft_actor::member_of,
    raft_node::RaftNode,
    record::Reading,
    register,
    wanted::{joined, wanted},
};
use crate::{context::Context, follow::Follow};

/// Something that may matter has changed.
#[derive(Debug)]
pub enum MembersMsg {
    /// Compare, and change one thing.
    Look,
    /// A change has ended.
    Done(Box<Done>),
}

/// The actor.
pub struct MembersActor;

/// Its state.
pub struct State {
    context: Arc<Context>,
    /// The change that is under way. It may wait for a quorum that is lost, and it holds Raft and the
    /// store: it ends with this actor.
    step: Option<JoinHandle<()>>,
    absences: Absences,
    /// What is known of the tie-break record, since when.
    reading: Option<(Reading, Timestamp)>,
    /// What keeps it from being in order.
    trouble: Option<String>,
    _follow: [Follow; 4],
}

impl Drop for State {
    fn drop(&mut self) {
        if let Some(step) = &self.step {
            step.abort();
        }
    }
}

/// Between two readings of a record that was fine, in detection times.
const READ_AGAIN: u32 = 10;

impl Actor for MembersActor {
    type Msg = MembersMsg;
    type State = State;
    type Arguments = Arc<Context>;

    async fn pre_start(
        &self,
        me: ActorRef<MembersMsg>,
        context: Arc<Context>,
    ) -> Result<State, ActorProcessingErr> {
        let follow = [
            Follow::changes(context.registry.subscribe(), me.clone(), || MembersMsg::Look),
            Follow::changes(context.leading.subscribe(), me.clone(), || MembersMsg::Look),
            Follow::changes(context.raft_status.subscribe(), me.clone(), || MembersMsg::Look),
            Follow::beats(context.timing().detect / 4, me, || MembersMsg::Look),
        ];
        Ok(State {
            context,
            step: None,
            absences: Absences::default(),
            reading: None,
            trouble: None,
            _follow: follow,
        })
    }

    async fn handle(
        &self,
        me: ActorRef<MembersMsg>,
        message: MembersMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        if let MembersMsg::Done(done) = message {
            state.done(*done);
            return Ok(());
        }
        let leading = state.context.leading.borrow().as_ref().map(|leading| leading.term);
        let raft = state.context.raft.borrow().clone();
        let Some(term) = leading else {
            (state.absences, state.reading) = (Absences::default(), None); // each leader's own
            return Ok(());
        };
        if let Some(raft) = raft.filter(|_| state.step.is_none())
            && let Some(step) = state.next_step(&raft, term)
        {
            if let Some(text) = step.text() {
                state.context.tell("raft-members", "cluster", text);
            }
            let (context, reading) = (state.context.clone(), state.reading.clone());
            state.step = Some(tokio::spawn(async move {
                let done = step.perform(&context, &raft, reading, term).await;
                let _ = me.cast(MembersMsg::Done(Box::new(done)));
            }));
        }
        Ok(())
    }
}

impl State {
    fn done(&mut self, done: Done) {
        self.step = None;
        if let Some(reading) = done.reading {
            self.reading = Some((reading, self.context.ports.clock.now()));
        }
        if let Err(error) = done.outcome {
            tracing::debug!(error, "Raft's members were not changed; looking again");
            self.reading = None;
        }
    }

    /// What is known of the record at its place; nothing after some time, so that its loss is seen.
    fn found(&self, place: Option<&str>, now: Timestamp, term: Term) -> Found {
        let detect = self.context.timing().detect;
        let known = self.reading.as_ref().filter(|(reading, at)| {
            let unknown = matches!(reading.found, Found::Unknown(_));
            let patience = if unknown { detect } else { detect * READ_AGAIN };
            Some(reading.place.as_str()) == place && reading.term == term && now.since(*at) < patience
        });
        known.map_or(Found::NotRead, |(reading, _)| reading.found.clone())
    }

    fn next_step(&mut self, raft: &RaftNode, term: Term) -> Option<Step> {
        let (context, registry) = (self.context.clone(), self.context.state());
        let members = raft.members();
        let joined = joined(&registry);
        for (id, name) in &joined {
            if !members.iter().any(|(known, ..)| known == id) {
                return Some(Step::Listen(*id, member_of(&registry.config()?, name)));
            }
        }
        let wanted = wanted(&context, &registry, raft, &members, &mut self.absences);
        let now = context.ports.clock.now();
        let place = register::place(&context, &registry);
        let name = place.as_ref().map(|(name, _)| name.as_str());
        let (last, found) = (raft.voters()?, self.found(name, now, term));
        let step = roster::next_step(&roster::Input {
            me: context.options.raft_id,
            lineage: registry.lineage.as_ref()?,
            configs: &last.configs,
            number: last.number,
            committed: last.committed,
            wanted: &wanted,
            place: name,
            found: &found,
            note: registry.tie_break.as_ref().map(|note| &note.value),
        });
        let trouble = step.as_ref().err().map(ToString::to_string);
        if found != Found::NotRead && self.trouble != trouble {
            match &trouble {
                Some(text) => context.tell("tie-break-trouble", "cluster", format!("TSK-1781: {text}")),
                None => context.tell("tie-break-fine", "cluster", "the tie-break record is in order again"),
            }
            self.trouble = trouble;
        }
        if let Ok(Some(step)) = step {
            return Some(Step::Roster(step, place, last.number));
        }
        let gone = members.iter().find(|(id, _, votes)| !votes && !joined.contains_key(id));
        match gone {
            Some((id, member, _)) => Some(Step::Forget(*id, member.server.clone())),
            None => next_level(&registry).map(|(level, read)| Step::Raise(level, read)),
        }
    }
}
