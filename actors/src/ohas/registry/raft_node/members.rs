//! Who is a member of Raft, who votes, and who leads next.

use std::collections::BTreeSet;

use openraft::{ChangeMembers, async_runtime::WatchReceiver, raft::Precondition};
use tasuki_core::ids::RaftId;
use tasuki_storage::raft_types::Member;

use super::{
    super::{door::number_of, network::address_of},
    RaftNode,
};
use crate::ports::PeerAddress;

impl RaftNode {
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

    /// Hands leadership to another voter.
    ///
    /// # Errors
    /// When Raft has stopped.
    pub async fn transfer_leadership(&self, to: RaftId) -> Result<(), String> {
        self.raft.trigger().transfer_leader(to.0).await.map_err(|error| error.to_string())
    }
}
