//! Voting files.

use tasuki_core::ids::{Incarnation, ServerName};
use tasuki_proto::v1 as wire;

use crate::app::votes::{BlockView, VoteView};

/// To the wire.
#[must_use]
pub fn vote_out(view: VoteView) -> wire::VotingFile {
    wire::VotingFile {
        number: view.number,
        server: view.server.map(|server| server.to_string()).unwrap_or_default(),
        path: view.path.display().to_string(),
        online: view.online,
        id: view.id,
        blank: view.blank,
        problem: view.problem,
        latency_micros: view.latency_micros,
        last_millis: view.last_millis,
        lost: view.lost,
        blocks: view
            .blocks
            .into_iter()
            .map(|block| wire::VoteBlock {
                slot: block.slot,
                server: block.server.to_string(),
                incarnation: block.incarnation.0,
                sequence: block.sequence,
            })
            .collect(),
    }
}

/// From the wire.
#[must_use]
pub fn vote_in(file: wire::VotingFile) -> VoteView {
    VoteView {
        number: file.number,
        server: (!file.server.is_empty()).then(|| ServerName::new(file.server)),
        path: file.path.into(),
        online: file.online,
        id: file.id,
        blank: file.blank,
        problem: file.problem,
        latency_micros: file.latency_micros,
        last_millis: file.last_millis,
        lost: file.lost,
        blocks: file
            .blocks
            .into_iter()
            .map(|block| BlockView {
                slot: block.slot,
                server: ServerName::new(block.server),
                incarnation: Incarnation(block.incarnation),
                sequence: block.sequence,
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voting_files_survive_the_wire() {
        let block = BlockView { slot: 2, server: "lala".into(), incarnation: Incarnation(3), sequence: 99 };
        let view = VoteView {
            number: 1,
            server: Some("kiki".into()),
            path: "/shared/vote".into(),
            online: true,
            id: "a5".into(),
            blank: false,
            problem: "none".into(),
            latency_micros: 120,
            last_millis: Some(7),
            lost: false,
            blocks: vec![block],
        };
        for view in [view, VoteView::default()] {
            assert_eq!(vote_in(vote_out(view.clone())), view);
        }
    }
}
