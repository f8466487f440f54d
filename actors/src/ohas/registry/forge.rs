//! One of two goes on alone: the voters become this server only, without the other's vote (R16).
//!
//! openraft has no call for it. So a leader that the tie-break elected, with an id that no server
//! has, appends the entry through the ordinary door: first a beat in a new term, after which this
//! server acknowledges nothing of an older leader, and only then, behind everything that its log
//! has, the membership.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use openraft::{
    Membership, ServerState,
    async_runtime::WatchReceiver,
    entry::RaftEntry,
    raft::{AppendEntriesRequest, AppendEntriesResponse},
    vote::RaftLeaderId,
};
use tasuki_core::{
    ids::{Lineage, RaftId},
    membership::{alone::in_every_quorum, tie_break::OwnLog},
    planted::{self, Planted},
};
use tasuki_storage::raft_types::{Entry, LogId, Member, StoredMembership, Vote};

use super::{
    door::{Voters, configs_of, number_of},
    raft_node::RaftNode,
};

/// The leader that the tie-break elects. Raft ids of servers begin with one.
const VIRTUAL: u64 = 0;
/// The last entry of a log, and the last membership in it.
pub type LogEnd = (Option<LogId>, Arc<StoredMembership>);

/// Between freezing and appending another leader may come up; not often.
const TRIES: u32 = 10;

impl RaftNode {
    /// The last voters in this server's log.
    #[must_use]
    pub fn voters(&self) -> Option<Voters> {
        self.door.voters()
    }

    /// The last voters in this server's log, for the tie-break; `None` before there are any.
    #[must_use]
    pub fn own_log(&self, lineage: Lineage) -> Option<OwnLog> {
        let voters = self.door.voters()?;
        let own = OwnLog { lineage, me: self.id, number: voters.number, configs: voters.configs };
        (!own.configs.is_empty()).then_some(own)
    }

    /// Whether this server only listens.
    #[must_use]
    pub fn on_hold(&self) -> bool {
        self.door.on_hold()
    }

    /// From now on this server only listens: the other one has gone on alone.
    pub fn hold(&self) {
        self.door.hold();
    }

    /// The record says that this server may take part.
    pub fn lift_hold(&self) {
        self.door.lift();
    }

    /// Keeps Raft to what the gate says, until Raft stops.
    pub async fn keep_gate(&self) {
        let (mut metrics, mut holds) = (self.raft.metrics(), self.door.holds());
        loop {
            let held = self.door.on_hold();
            self.raft.runtime_config().elect(!held);
            if held {
                self.step_down().await;
            }
            tokio::select! {
                biased;
                changed = holds.changed() => if changed.is_err() { return },
                changed = metrics.changed() => if changed.is_err() { return },
            }
        }
    }

    /// A leader or candidate stops being one; for a follower a new term would only depose whom it
    /// follows.
    async fn step_down(&self) {
        let state = self.raft.server_metrics().borrow_watched().state;
        if matches!(state, ServerState::Leader | ServerState::Candidate)
            && let Err(error) = self.freeze().await
        {
            tracing::debug!(error, "this server did not step down; trying again");
        }
    }

    /// A beat of the virtual leader in a new term: its claim, when it was accepted.
    async fn freeze(&self) -> Result<Option<Vote>, String> {
        let term = self.raft.with_raft_state(|state| state.vote_ref().leader_id().term).await;
        let vote = Vote::new_committed(term.map_err(|error| error.to_string())? + 1, VIRTUAL);
        if planted::is(Planted::NoFreeze) {
            return Ok(Some(vote));
        }
        let accepted = self.append(vote, None, Vec::new()).await?;
        Ok(accepted.then_some(vote))
    }

    /// A caller leads in the very term in which this server stepped down by itself: neither vote is above
    /// the other, so that the caller would be refused for ever and not know why. A newer term makes it
    /// stand again.
    pub(super) async fn part_terms(&self, caller: &Vote, mine: &Vote) {
        let (caller, mine) = (caller.leader_id(), mine.leader_id());
        if caller.term == mine.term
            && mine.voted_for == VIRTUAL
            && let Err(error) = self.freeze().await
        {
            tracing::debug!(error, "the term stays; the next call tries again");
        }
    }

    /// The end of this server's log, as of now.
    ///
    /// # Errors
    /// When Raft has stopped.
    pub async fn log_end(&self) -> Result<LogEnd, String> {
        let end = self.raft.with_raft_state(|state| {
            (state.log_ids.last().copied(), state.membership_state.effective().clone())
        });
        end.await.map_err(|error| error.to_string())
    }

    async fn append(&self, vote: Vote, after: Option<LogId>, entries: Vec<Entry>) -> Result<bool, String> {
        let request = AppendEntriesRequest { vote, prev_log_id: after, entries, leader_commit: None };
        let answer = self.raft.append_entries(request).await.map_err(|error| error.to_string())?;
        Ok(matches!(answer, AppendEntriesResponse::Success))
    }

    /// Makes this server the only voter, behind everything in its log, and elects it. The caller
    /// holds the tie-break for at least this number. Answers the number of the membership.
    ///
    /// Without a record this server must have been on hold since before the other was fenced, and
    /// still be (R19): the hold ends when the other is heard, and one that was heard after it was
    /// fenced may itself break the tie later.
    ///
    /// `too_early` is the end of the log as a planted fault has read it before; none otherwise.
    ///
    /// # Errors
    /// When this server is not in every quorum of the last voters in its log, the other was heard
    /// again, or Raft has stopped.
    pub async fn go_on_alone(
        &self,
        least: u64,
        has_record: bool,
        too_early: Option<LogEnd>,
    ) -> Result<u64, String> {
        let me = self.id;
        for _ in 0..TRIES {
            let Some(vote) = self.freeze().await? else { continue };
            if !has_record && !self.on_hold() {
                return Err("the other server is heard again".into());
            }
            // Only now: nothing can be appended any more but by a still newer leader.
            let (last, membership) = match &too_early {
                Some(end) => end.clone(),
                None => self.log_end().await?,
            };
            let same = has_record || number_of(&membership) + 1 == least;
            if !same || !in_every_quorum(me, &configs_of(&membership)) {
                return Err("the voters have changed meanwhile".into());
            }
            let number = least.max(number_of(&membership) + 1);
            let known = membership.membership().get_node(&me.0).cloned().unwrap_or_default();
            let member = Member { generation: number, ..known };
            let alone = Membership::new(vec![BTreeSet::from([me.0])], BTreeMap::from([(me.0, member)]))
                .map_err(|error| error.to_string())?;
            let index = last.map_or(0, |last| last.index() + 1);
            let id = LogId::new(vote.leader_id().to_committed(), index);
            if self.append(vote, last, vec![Entry::new_membership(id, alone)]).await? {
                self.door.lift();
                self.raft.runtime_config().elect(true);
                self.raft.trigger().elect(false).await.map_err(|error| error.to_string())?;
                return Ok(number);
            }
        }
        Err("other leaders come up again and again".into())
    }

    /// Whether a server has a vote.
    #[must_use]
    pub fn votes(&self, id: RaftId) -> bool {
        self.door.voters().is_some_and(|voters| voters.configs.iter().any(|set| set.contains(&id)))
    }
}
