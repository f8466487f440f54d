//! What only a leader can do: commit a proposal, and say up to where to read.

use std::{collections::HashMap, sync::PoisonError, time::Duration};

use openraft::{
    errors::{ClientWriteError, LinearizableReadError, RaftError},
    impls::ProgressResponder,
    raft::ReadPolicy,
};
use serde::{Deserialize, Serialize};
use tasuki_core::{
    ids::{RaftId, Term},
    registry::{Proposal, Reply, level},
};
use tokio::sync::watch;

use super::RaftNode;

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

/// The answer to a proposal, once there is one.
type Answer = watch::Receiver<Option<FromLeader>>;

/// The proposals of the last while, by their names.
pub(super) type Remembered = HashMap<u128, Answer>;

/// How long a proposal is remembered: longer than any transport repeats it.
const REMEMBERED: Duration = Duration::from_secs(30);

impl RaftNode {
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
}
