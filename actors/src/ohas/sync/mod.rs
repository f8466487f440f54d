//! The synchronisation service: heartbeat links, gossip, the lease, the verdict.

pub mod arbiter_actor;
mod claim;
pub mod fencing_actor;
pub mod gossip_actor;
pub mod lease_actor;
pub mod link_actor;
pub mod links_actor;
mod named;
mod reset_wait;
pub mod tie_break_watch_actor;
pub mod vote_actor;
pub mod voting_file_actor;
pub mod voting_files_actor;

use std::sync::Arc;

use self::{
    arbiter_actor::ArbiterActor, fencing_actor::FencingActor, gossip_actor::GossipActor,
    lease_actor::LeaseActor, links_actor::LinksActor, tie_break_watch_actor::TieBreakWatchActor,
    vote_actor::VoteActor, voting_files_actor::VotingFilesActor,
};
use crate::{
    context::Context,
    supervise::{Child, Intensity, Strategy, SupervisorSpec},
};

/// The table. Losing one of them loses no service: links, gossip and verdict are evidence, and
/// the lease goes on in the guard until its end.
pub fn children(context: &Arc<Context>) -> SupervisorSpec {
    let child = |context: &Arc<Context>| context.clone();
    let (a, b, c, d, e) = (child(context), child(context), child(context), child(context), child(context));
    let (fencing, vote) = (child(context), child(context));
    let watch = child(context);
    let (files, keeper) = (child(context), child(context));
    SupervisorSpec {
        name: "sync".into(),
        strategy: Strategy::OneForOne,
        limit: Intensity::default(),
        children: vec![
            Child::supervisor("links", move || links_table(&a)),
            Child::worker("links_keeper", move || (LinksActor, b.clone())),
            Child::worker("gossip", move || (GossipActor, c.clone())),
            Child::worker("vote", move || (VoteActor, vote.clone())),
            Child::worker("tie_break_watch", move || (TieBreakWatchActor, watch.clone())),
            Child::worker("arbiter", move || (ArbiterActor, d.clone())),
            Child::worker("lease", move || (LeaseActor, e.clone())),
            Child::supervisor("voting_files", move || voting_files_table(&files)),
            Child::worker("voting_files_keeper", move || (VotingFilesActor, keeper.clone())),
            Child::worker("fencing", move || (FencingActor, fencing.clone())),
        ],
        clock: context.ports.clock.clone(),
        slot: None,
    }
}

/// One actor a path and peer; they come and go with the configuration.
pub(super) fn links_table(context: &Arc<Context>) -> SupervisorSpec {
    SupervisorSpec {
        name: "links".into(),
        strategy: Strategy::OneForOne,
        limit: Intensity::default(),
        children: context.links.children(context),
        clock: context.ports.clock.clone(),
        slot: Some(context.links.supervisor.clone()),
    }
}

/// One actor a voting file; they come and go with the configuration.
fn voting_files_table(context: &Arc<Context>) -> SupervisorSpec {
    SupervisorSpec {
        name: "voting_files".into(),
        strategy: Strategy::OneForOne,
        limit: Intensity::default(),
        children: context.voting.children(context),
        clock: context.ports.clock.clone(),
        slot: Some(context.voting.supervisor.clone()),
    }
}
