//! One change of Raft's members, or of the tie-break record that goes with them, and how it is made.

use std::sync::Arc;

use tasuki_core::{
    ids::{RaftId, Revision, ServerName, Term},
    membership::roster::{self, Found},
    registry::{Author, Command, Key, Level},
    time::Timestamp,
};
use tasuki_storage::raft_types::Member;

use super::{
    raft_node::RaftNode,
    record::{self, Reading},
};
use crate::{context::Context, ports::RegisterPlace, propose::propose};

/// One change of Raft's members, or of the tie-break record that goes with it.
#[derive(Debug)]
pub enum Step {
    /// A server that has joined receives the registry.
    Listen(RaftId, Member),
    /// The voters, or the record of two: see [`roster`]. Where the record is, and the number of the
    /// membership that this follows.
    Roster(roster::Step, Option<(String, RegisterPlace)>, u64),
    /// A store that belongs to no server any more is removed.
    Forget(RaftId, ServerName),
    /// All members read more words than they may write: from here on they may.
    Raise(Level, Vec<(Key, Revision)>),
}

impl Step {
    /// For people; reading and noting are not worth a line.
    #[must_use]
    pub fn text(&self) -> Option<String> {
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

    /// Makes it, as the leader of this term.
    pub async fn perform(
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

/// How a change has ended.
#[derive(Debug)]
pub struct Done {
    /// Whether it was made, or why not.
    pub outcome: Result<(), String>,
    /// What is known of the tie-break record since.
    pub reading: Option<Reading>,
}
