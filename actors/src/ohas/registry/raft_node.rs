//! Raft behind a handle that is not generic: the only file that instantiates openraft.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use openraft::{
    ChangeMembers, Config, ServerState, SnapshotPolicy,
    async_runtime::WatchReceiver,
    errors::{ClientWriteError, LinearizableReadError, RaftError},
    impls::ProgressResponder,
    raft::{Precondition, ReadPolicy},
};
use serde::{Deserialize, Serialize};
use tasuki_core::{
    ids::{Lineage, RaftId, ServerName, Term},
    membership::alone::other_of_two,
    planted::{self, Planted},
    registry::{Proposal, Reply, State, level},
    timing::Timing,
};
use tasuki_storage::{
    OpenStore,
    raft_types::{Member, Raft},
};

use tokio::sync::watch;

use super::{
    door::{Door, number_of},
    network::{Network, Patience, address_of},
};
use crate::{
    handle::RaftStatus,
    ports::{PeerAddress, PeerTransport},
};

/// A proposal or a question, sent to whoever leads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToLeader {
    /// Commit this.
    Propose {
        /// Names this proposal: a transport that is not sure sends it again (R21), and the leader
        /// does it once.
        id: u128,
        /// What.
        proposal: Box<Proposal>,
    },
    /// Up to where must I have applied to read what is committed now?
    ReadIndex,
}

/// What the leader answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FromLeader {
    /// The command was applied (or refused by the registry).
    Reply(Box<Reply>),
    /// Read at or after this entry.
    Index(u64),
    /// Somebody else leads, or nobody.
    NotLeader(Option<RaftId>),
    /// It was not done, and will not be.
    Failed(String),
    /// It is not known whether it will be done.
    Unclear(String),
}

/// Raft on this server. Cheap to clone.
#[derive(Clone)]
pub struct RaftNode {
    pub(super) raft: Raft,
    pub(super) id: RaftId,
    pub(super) door: Arc<Door>,
    proposals: Arc<Mutex<HashMap<u128, Answer>>>,
    registry: watch::Receiver<Arc<State>>,
}

/// The answer to a proposal, once there is one.
type Answer = watch::Receiver<Option<FromLeader>>;

/// How long a proposal is remembered: longer than any transport repeats it.
const REMEMBERED: Duration = Duration::from_secs(30);

impl RaftNode {
    /// Starts Raft over a store. With a tie-break, one of two starts on hold.
    ///
    /// # Errors
    /// When the times contradict each other or the store cannot be read.
    pub async fn start(
        id: RaftId,
        timing: &Timing,
        peers: Arc<dyn PeerTransport>,
        store: OpenStore,
        tie_break: bool,
    ) -> Result<Self, String> {
        let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let config = Config {
            cluster_name: "tasuki".into(),
            heartbeat_interval: ms(timing.beat),
            heartbeat_min_interval: None,
            election_timeout_min: ms(timing.election_min),
            election_timeout_max: ms(timing.election_max),
            snapshot_policy: SnapshotPolicy::LogsSinceLast(2000),
            max_in_snapshot_log_to_keep: 500,
            replication_lag_threshold: 1000,
            enable_pre_vote: Some(true),
            enable_leader_restore: Some(false), // R2: a leader that restarts is elected again
            enable_elect: false,                // until its own log was looked at: see `keep_gate`
            ..Config::default()
        };
        let config = config.validate().map_err(|error| error.to_string())?;
        let patience = Patience { retry: timing.beat, beat: timing.election_min, entries: timing.lease };
        let door = Arc::new(Door::new(id));
        let network = Network { peers, door: door.clone(), patience };
        let raft = Raft::new(id.0, Arc::new(config), network, store.log.clone(), store.machine.clone())
            .await
            .map_err(|error| error.to_string())?;
        door.follow(raft.metrics());
        let node = Self { raft, id, door, proposals: Arc::default(), registry: store.state.clone() };
        let own = node.own_log(Lineage::new(""));
        if tie_break && own.as_ref().is_some_and(|own| other_of_two(own).is_some()) {
            node.door.hold(); // the other one may have gone on alone
        }
        Ok(node)
    }

    /// Makes this server the only voter of a new registry; nothing when there is one already.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn found(&self, member: Member) -> Result<(), String> {
        match self.raft.is_initialized().await {
            Ok(true) => Ok(()),
            Ok(false) => {
                let members = BTreeMap::from([(self.id.0, Member { generation: 1, ..member })]);
                self.raft.initialize(members).await.map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Whether this server takes itself for the leader. A leader that is cut off still does.
    #[must_use]
    pub fn seems_leader(&self) -> bool {
        self.raft.is_leader()
    }

    /// One round to the voters (ReadIndex, R11): the term in which this server leads, once a quorum
    /// has answered and everything committed before, an entry of this term included, is applied.
    ///
    /// # Errors
    /// When this server does not lead, or no quorum answers.
    pub async fn confirm_leadership(&self) -> Result<Term, String> {
        let before = self.leading_term().await?;
        if planted::is(Planted::SelfMadeLeader) {
            return Ok(before);
        }
        match self.raft.ensure_linearizable(ReadPolicy::ReadIndex).await {
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
        // Terms only grow: the same term before and after is the term of the round.
        let after = self.leading_term().await?;
        if before == after { Ok(after) } else { Err("the term changed during the round".into()) }
    }

    async fn leading_term(&self) -> Result<Term, String> {
        let id = self.id.0;
        let term = self.raft.with_raft_state(move |state| {
            let vote = state.vote_ref();
            let leads = vote.is_committed() && vote.leader_id().voted_for == id;
            leads.then(|| vote.leader_id().term)
        });
        let term = term.await.map_err(|error| error.to_string())?;
        term.map(Term).ok_or_else(|| "this server does not lead".into())
    }

    /// The last entry in this server's log, exactly.
    pub async fn last_log_index(&self) -> Option<u64> {
        self.raft.with_raft_state(|state| state.log_ids.last().map_or(0, |id| id.index())).await.ok()
    }

    /// Does what only a leader can.
    pub async fn serve(&self, request: ToLeader, limit: Duration) -> FromLeader {
        match request {
            ToLeader::Propose { id, proposal } => self.propose_once(id, *proposal, limit).await,
            ToLeader::ReadIndex => {
                let read = self.raft.get_read_log_id(ReadPolicy::ReadIndex);
                match tokio::time::timeout(limit, read).await {
                    Ok(Ok((read, _))) => FromLeader::Index(read.index()),
                    Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(to)))) => {
                        FromLeader::NotLeader(to.leader_id.map(RaftId))
                    }
                    Ok(Err(error)) => FromLeader::Failed(error.to_string()),
                    Err(_) => FromLeader::Failed("no quorum answered in time".into()),
                }
            }
        }
    }

    /// A repeated proposal waits for the answer to the first. The work goes on when its caller has
    /// gone: it may be in the log already.
    async fn propose_once(&self, id: u128, proposal: Proposal, limit: Duration) -> FromLeader {
        let mut answer = {
            let mut proposals = self.proposals.lock().unwrap_or_else(PoisonError::into_inner);
            match proposals.get(&id) {
                Some(answer) => answer.clone(),
                None => {
                    let (tell, answer) = watch::channel(None);
                    proposals.insert(id, answer.clone());
                    let raft = self.clone();
                    tokio::spawn(async move {
                        let result = raft.propose(proposal, limit).await;
                        // What was certainly not done may be asked again: by then this server may lead.
                        let repeatable = matches!(result, FromLeader::NotLeader(_) | FromLeader::Failed(_));
                        let proposals = raft.proposals.clone();
                        drop(raft); // what is only remembered must not keep the store open
                        tell.send_replace(Some(result));
                        if !repeatable {
                            tokio::time::sleep(REMEMBERED).await;
                        }
                        proposals.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                    });
                    answer
                }
            }
        };
        match answer.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone().unwrap_or_else(|| FromLeader::Unclear("no answer".into())),
            Err(_) => FromLeader::Unclear("the leader is stopping".into()),
        }
    }

    async fn propose(&self, proposal: Proposal, limit: Duration) -> FromLeader {
        if let Some(refused) = self.not_yet(&proposal) {
            return refused;
        }
        // `client_write` waits for ever when there is no quorum.
        match tokio::time::timeout(limit, self.raft.client_write(proposal)).await {
            Ok(Ok(written)) => FromLeader::Reply(Box::new(written.data)),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to)))) => {
                FromLeader::NotLeader(to.leader_id.map(RaftId))
            }
            Ok(Err(RaftError::APIError(error))) => FromLeader::Failed(error.to_string()),
            Ok(Err(RaftError::Fatal(error))) => FromLeader::Unclear(error.to_string()),
            Err(_) => FromLeader::Unclear(format!("not committed within {limit:?}")),
        }
    }

    /// What some member could not read never gets into the log. The level only rises: if it is high
    /// enough in the registry as applied here, then the entry that raised it is committed.
    fn not_yet(&self, proposal: &Proposal) -> Option<FromLeader> {
        let needs = level::needs(&proposal.command, proposal.reason.as_ref());
        let state = self.registry.borrow().clone();
        let refused = || FromLeader::Reply(Box::new(Reply::Refused(state.not_yet(needs))));
        (needs > state.level()).then(refused)
    }

    /// Commits what a leader has decided: here only, and only in the term in which it was decided. A
    /// deposed leader's judgement must not reach the next one, which grants leases of its own (R3, R4).
    pub async fn propose_in_term(&self, term: Term, proposal: Proposal, limit: Duration) -> FromLeader {
        if let Some(refused) = self.not_yet(&proposal) {
            return refused;
        }
        let (responder, answer) = ProgressResponder::complete_only();
        let written = async {
            let write = self.raft.write(proposal).with_leader(term.0).responder(responder);
            write.await.map_err(|error| error.to_string())?;
            answer.await.map_err(|_| "Raft has stopped".to_owned())
        };
        match tokio::time::timeout(limit, written).await {
            Ok(Ok(Ok(written))) => FromLeader::Reply(Box::new(written.data)),
            // Never in the log, or taken out of it again.
            Ok(Ok(Err(error))) => FromLeader::Failed(error.to_string()),
            Ok(Err(error)) => FromLeader::Unclear(error),
            Err(_) => FromLeader::Unclear(format!("not committed within {limit:?}")),
        }
    }

    /// Where a member is reached, by its id.
    #[must_use]
    pub fn member(&self, id: RaftId) -> Option<PeerAddress> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        metrics.membership_config.membership().get_node(&id.0).map(address_of)
    }

    /// Raft's members: id, member, whether it votes.
    #[must_use]
    pub fn members(&self) -> Vec<(RaftId, Member, bool)> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        membership.nodes().map(|(id, member)| (RaftId(*id), member.clone(), voters.contains(id))).collect()
    }

    /// How many entries a member lacks; `None` when that is not known here.
    #[must_use]
    pub fn lag(&self, id: RaftId) -> Option<u64> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let matched = metrics.replication.as_ref()?.get(&id.0)?.as_ref()?.index();
        Some(metrics.last_log_index?.saturating_sub(matched))
    }

    /// Takes a member in that only listens. The number of the membership stays.
    ///
    /// # Errors
    /// When this server does not lead, or another change is under way.
    pub async fn add_learner(&self, id: RaftId, member: Member) -> Result<(), String> {
        let generation = self.door.voters().map_or(0, |voters| voters.number);
        let member = Member { generation, ..member };
        self.raft.add_learner(id.0, member, false).await.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Makes exactly these members voters; others become learners. The new membership has this
    /// number, in the same entry. The same voters again get only the number.
    ///
    /// # Errors
    /// When this server does not lead, another change is under way, or the voters have changed since
    /// their membership had the number `since`.
    pub async fn set_voters(&self, voters: BTreeSet<RaftId>, number: u64, since: u64) -> Result<(), String> {
        let last = self.raft.with_raft_state(|state| state.membership_state.effective().clone()).await;
        let last = last.map_err(|error| error.to_string())?;
        if number_of(&last) != since {
            return Err("the voters have changed meanwhile".into());
        }
        let stamped = last.membership().nodes();
        let stamped = stamped.map(|(id, member)| (*id, Member { generation: number, ..member.clone() }));
        let change = ChangeMembers::Batch(vec![
            ChangeMembers::SetNodes(stamped.collect()),
            ChangeMembers::ReplaceAllVoters(voters.into_iter().map(|id| id.0).collect()),
        ]);
        let unchanged = Precondition::LastMembershipLogId { last_membership_log_id: *last.log_id() };
        let changed = self.raft.change_membership_if(change, true, [unchanged]).await;
        changed.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Removes a learner.
    ///
    /// # Errors
    /// When this server does not lead, or another change is under way.
    pub async fn remove_learner(&self, id: RaftId) -> Result<(), String> {
        let gone = ChangeMembers::RemoveNodes(BTreeSet::from([id.0]));
        self.raft.change_membership(gone, true).await.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Whether this server, when it leads, may keep the others from electing somebody else. One that
    /// hears too few of them keeps still: where only its own word gets through, they would wait for it
    /// until their leases end.
    pub fn speak(&self, speak: bool) {
        self.raft.runtime_config().heartbeat(speak);
    }

    /// Hands leadership to another voter.
    ///
    /// # Errors
    /// When Raft has stopped.
    pub async fn transfer_leadership(&self, to: RaftId) -> Result<(), String> {
        self.raft.trigger().transfer_leader(to.0).await.map_err(|error| error.to_string())
    }

    /// Raft as seen here.
    #[must_use]
    pub fn status(&self) -> RaftStatus {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let name = |id: &u64| {
            metrics.membership_config.membership().get_node(id).map(|member| member.server.clone())
        };
        let members = self.members();
        let named = |votes: bool| -> Vec<ServerName> {
            members.iter().filter(|(_, _, v)| *v == votes).map(|(_, m, _)| m.server.clone()).collect()
        };
        RaftStatus {
            leader: metrics.current_leader.as_ref().and_then(name),
            term: Term(metrics.current_term),
            voters: named(true),
            learners: named(false),
            last_log: metrics.last_log_index.unwrap_or(0),
            applied: metrics.last_applied.map_or(0, |id| id.index()),
        }
    }

    /// Waits for a change of what [`RaftNode::status`] tells; the reason when Raft has stopped.
    ///
    /// # Errors
    /// When Raft has stopped: a store error is final for it (see the store's notes).
    pub async fn follow(&self, mut changed: impl FnMut(RaftStatus)) -> String {
        let mut metrics = self.raft.metrics();
        loop {
            changed(self.status());
            if let Err(fatal) = &metrics.borrow_watched().running_state {
                return fatal.to_string();
            }
            if metrics.changed().await.is_err() {
                return "Raft has stopped".into();
            }
        }
    }

    /// Whether this server is a candidate or leader by its own account, for shutting down.
    #[must_use]
    pub fn is_follower(&self) -> bool {
        let metrics = self.raft.metrics().borrow_watched().clone();
        matches!(metrics.state, ServerState::Follower | ServerState::Learner)
    }

    /// Stops Raft.
    pub async fn shutdown(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "Raft did not stop cleanly");
        }
    }
}
