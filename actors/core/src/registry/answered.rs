//! What was answered to the last proposals, so that one that is in the log twice acts once.
//!
//! A proposal whose connection broke is sent again over another path, and may by then reach another
//! leader, while the first one's entry is committed all the same. The second entry would be refused,
//! because what it read has moved on, and its proposer would be told "refused" of what is done. Or the
//! first is refused and the second is not. So the first answer is the answer.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::Reply;
use crate::ids::ProposalId;

/// How many answers are kept. A proposal is repeated for seconds, and only what names itself counts
/// here; the number bounds the registry, and is not a promise that a later repetition is noticed.
pub const ANSWERS_LIMIT: usize = 512;

/// The last answers, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Answered(VecDeque<(ProposalId, Reply)>);

impl Answered {
    /// What was answered to this proposal.
    #[must_use]
    pub fn to(&self, id: ProposalId) -> Option<&Reply> {
        self.0.iter().rev().find(|(answered, _)| *answered == id).map(|(_, reply)| reply)
    }

    pub(super) fn remember(&mut self, id: ProposalId, reply: Reply) {
        if self.0.len() >= ANSWERS_LIMIT {
            self.0.pop_front();
        }
        self.0.push_back((id, reply));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Revision;

    fn applied(revision: u64) -> Reply {
        Reply::Applied { revision: Revision(revision), raft_id: None }
    }

    #[test]
    fn the_oldest_answers_make_room() {
        let mut answered = Answered::default();
        for id in 0..=ANSWERS_LIMIT as u128 {
            answered.remember(ProposalId(id), applied(1));
        }
        assert_eq!(answered.to(ProposalId(0)), None);
        assert_eq!(answered.to(ProposalId(1)), Some(&applied(1)));
        assert_eq!(answered.0.len(), ANSWERS_LIMIT);
    }

    #[test]
    fn ids_of_full_length_come_back_from_text() {
        for id in [0, 7, u128::from(u64::MAX) + 1, u128::MAX] {
            let text = String::from(ProposalId(id));
            assert_eq!(ProposalId::try_from(text), Ok(ProposalId(id)));
        }
        assert!(ProposalId::try_from("kiki".to_owned()).is_err());
    }
}
