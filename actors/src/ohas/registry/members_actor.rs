//! Keeps Raft's members in step with the servers that have joined, and the tie-break record of two
//! in step with them. Acts on the leader only.
//!
//! Started by the registry's supervisor; owns nothing that a restart loses.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tasuki_core::{
    ids::{RaftId, Revision, ServerName, Term},
    membership::{
        roster::{self, Found},
        voters::{Absences, Candidate, LONG_DOWN, choose},
    },
    registry::{Author, Command, Key, Level, State as Registry, level::next_level, state::ServerMode},
    time::Timestamp,
};
use tasuki_storage::raft_types::Member;

use super::{
    presence_actor::may_go,
    raft_actor::member_of,
    raft_node::RaftNode,
    record::{self, Reading},
    register,
};
use crate::{context::Context, follow::Follow, ports::RegisterPlace, propose::propose};

/// Something that may matter has changed.
#[derive(Debug)]
pub enum MembersMsg {
    /// Compare, and change one thing.
    Look,
    /// A change has ended.
    Done(Box<Done>),
}

/// How a change has ended.
#[derive(Debug)]
pub struct Done {
    outcome: Result<(), String>,
    /// What is known of the tie-break record since.
    reading: Option<Reading>,
}

/// The actor.
pub struct MembersActor;

/// Its state.
pub struct State {
    context: Arc<Context>,
    busy: bool,
    absences: Absences,
    /// What is known of the tie-break record, since when.
    reading: Option<(Reading, Timestamp)>,
    /// What keeps it from being in order.
    trouble: Option<String>,
    _follow: [Follow; 4],
}

/// Between two readings of a record that was fine, in detection times.
const READ_AGAIN: u32 = 10;

/// A learner that lacks no more than this many entries may vote: one that lacks more would hold
/// up every commit until it has caught up.
const CAUGHT_UP: u64 = 2;

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
            busy: false,
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
        if let Some(raft) = raft.filter(|_| !state.busy)
            && let Some(step) = state.next_step(&raft, term)
        {
            state.busy = true;
            if let Some(text) = step.text() {
                state.context.tell("raft-members", "cluster", text);
            }
            let (context, reading) = (state.context.clone(), state.reading.clone());
            tokio::spawn(async move {
                let done = step.perform(&context, &raft, reading, term).await;
                let _ = me.cast(MembersMsg::Done(Box::new(done)));
            });
        }
        Ok(())
    }
}

impl State {
    fn done(&mut self, done: Done) {
        self.busy = false;
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

/// One change of Raft's members, or of the tie-break record that goes with it.
enum Step {
    Listen(RaftId, Member),
    Roster(roster::Step, Option<(String, RegisterPlace)>, u64),
    Forget(RaftId, ServerName),
    Raise(Level, Vec<(Key, Revision)>),
}

impl Step {
    /// For people; reading and noting are not worth a line.
    fn text(&self) -> Option<String> {
        match self {
            Self::Listen(_, member) => Some(format!("{} receives the registry", member.server)),
            Self::Roster(roster::Step::Vote { voters, number }, ..) => {
                let ids: Vec<String> = voters.iter().map(ToString::to_string).collect();
                Some(format!("the voters are {} (membership {number})", ids.join(", ")))
            }
            Self::Roster(roster::Step::HandOver(owner), ..) => {
                Some(format!("leadership goes to store {owner}, which the tie-break record names"))
            }
            Self::Roster(..) => None,
            Self::Raise(level, _) => Some(format!("all members read level {level} of the registry")),
            Self::Forget(id, server) => Some(format!("the old store of {server} ({id}) is forgotten")),
        }
    }

    async fn perform(
        self,
        context: &Arc<Context>,
        raft: &RaftNode,
        reading: Option<(Reading, Timestamp)>,
        term: Term,
    ) -> Done {
        let mut fresh = None;
        let outcome = match self {
            Self::Listen(id, member) => raft.add_learner(id, member).await,
            Self::Forget(id, _) => raft.remove_learner(id).await,
            Self::Raise(level, read) => {
                let (author, command) = (Author::Leader(context.me().clone()), Command::RaiseLevel { level });
                let raised = propose(context, author, command, None, read).await;
                raised.map(|_| ()).map_err(|error| error.to_string())
            }
            Self::Roster(step, place, since) => match (step, place) {
                (roster::Step::Vote { voters, number }, _) => raft.set_voters(voters, number, since).await,
                (roster::Step::HandOver(owner), _) => raft.transfer_leadership(owner).await,
                (roster::Step::Read, Some(place)) => {
                    fresh = Some(record::read(context, place, term).await);
                    Ok(())
                }
                (roster::Step::Note { record, made }, place) => {
                    record::note(context, &record, made, place.as_ref().map_or("", |(name, _)| name)).await
                }
                (roster::Step::Write { to, .. }, Some((_, place))) => match reading {
                    Some((reading, _)) => {
                        let written = record::write(context, raft, &place, &reading, &to).await;
                        if written.is_ok() {
                            fresh = Some(Reading { found: Found::Read(Some(to)), ..reading });
                        }
                        written
                    }
                    None => Err("the record was not read".into()),
                },
                (roster::Step::Read | roster::Step::Write { .. }, None) => Err("there is no register".into()),
            },
        };
        Done { outcome, reading: fresh }
    }
}

/// The servers that have a place in Raft.
fn joined(registry: &Registry) -> BTreeMap<RaftId, &ServerName> {
    let servers = registry.servers.iter();
    // A witness that only keeps the tie-break record is no member of Raft.
    let servers = servers.filter(|(_, server)| server.config.value.role.may_vote());
    servers.filter_map(|(name, server)| Some((server.presence.as_ref()?.value.raft_id, name))).collect()
}

/// Who should vote.
fn wanted(
    context: &Context,
    registry: &Registry,
    raft: &RaftNode,
    members: &[(RaftId, Member, bool)],
    absences: &mut Absences,
) -> BTreeSet<RaftId> {
    let joined = joined(registry);
    let voters: BTreeSet<RaftId> = members.iter().filter(|(.., votes)| *votes).map(|(id, ..)| *id).collect();
    let server = |id: &RaftId| joined.get(id).and_then(|name| registry.servers.get(*name));
    // A witness presents itself to nobody: it is as good as its copy of the registry.
    let down = |id: &RaftId| {
        let Some(server) = server(id) else { return true };
        let runs = server.config.value.role.runs_groups();
        runs && server.presence.as_ref().is_some_and(|presence| !presence.value.up)
    };
    let silent = |id: &RaftId| {
        let view = context.view.borrow();
        joined.get(id).and_then(|name| view.peers.get(*name)).is_none_or(|peer| peer.is_silent())
    };
    // R22: one of two that leaves gives its vote up once nothing runs there, and gets it back when it
    // has started again.
    let leaves = |id: &RaftId| {
        let Some(name) = joined.get(id) else { return false };
        let leaving = registry.presence(name).is_some_and(|p| matches!(p.mode, ServerMode::Leaving(_)));
        leaving && (!voters.contains(id) || voters.len() == 2 && may_go(registry, name))
    };
    let (now, patience) = (context.ports.clock.now(), context.timing().detect * LONG_DOWN);
    absences.note(&joined.keys().filter(|id| down(id)).copied().collect(), now);
    let candidate = |one: Candidate| {
        let id = one.raft_id;
        let votes = voters.contains(&id);
        let caught_up = votes || raft.lag(id).is_some_and(|lag| lag <= CAUGHT_UP);
        // A voter keeps its vote through a short absence; a learner that is down or not heard gets
        // none: it would hold every commit up.
        let gone =
            if votes { down(&id) && absences.long(id, now, patience) } else { down(&id) || silent(&id) };
        Candidate { up: !gone, may_vote: one.may_vote && caught_up && !leaves(&id), ..one }
    };
    let mut candidates: Vec<Candidate> =
        registry.servers.values().filter_map(Candidate::of).map(candidate).collect();
    // The old store of a server that joined anew keeps its vote until the new one can have it:
    // with three it would be two for a while otherwise.
    let replaced = members.iter().filter(|(id, ..)| voters.contains(id) && !joined.contains_key(id));
    candidates.extend(replaced.filter_map(|(id, member, _)| {
        let server = registry.servers.get(&member.server)?;
        Some(Candidate { raft_id: *id, up: false, ..Candidate::of(server)? })
    }));
    let wanted = choose(&candidates, &voters);
    if wanted.is_empty() { voters } else { wanted }
}
