//! The root of the tree of a witness that votes: it keeps the registry and is heard, and has
//! nothing that could hold a lease, run a group, or decide about either.

pub mod beats_actor;
pub mod handover_actor;

use std::{sync::Arc, time::Duration};

use tasuki_core::timing::Timing;

use self::{beats_actor::BeatsActor, handover_actor::HandoverActor};
use super::{
    events,
    registry::{announce_actor::AnnounceActor, raft_actor::RaftActor},
    sync::{gossip_actor::GossipActor, links_actor::LinksActor, links_table},
};
use crate::{
    context::Context,
    supervise::{Child, Intensity, Strategy, SupervisorSpec},
};

/// The table, in order of start.
pub fn children(context: &Arc<Context>) -> SupervisorSpec {
    let (a, b, c) = (context.clone(), context.clone(), context.clone());
    spec(
        context,
        "ohas",
        Strategy::OneForOne,
        vec![
            Child::supervisor("events", move || events::children(&a)),
            Child::supervisor("registry", move || registry(&b)),
            Child::supervisor("sync", move || sync(&c)),
        ],
    )
}

/// What works on Raft is restarted with it.
fn registry(context: &Arc<Context>) -> SupervisorSpec {
    let (a, b, c) = (context.clone(), context.clone(), context.clone());
    spec(
        context,
        "registry",
        Strategy::RestForOne,
        vec![
            Child::worker("raft", move || (RaftActor, a.clone())),
            Child::worker("handover", move || (HandoverActor, b.clone())),
            Child::worker("announce", move || (AnnounceActor, c.clone())),
        ],
    )
}

fn sync(context: &Arc<Context>) -> SupervisorSpec {
    let (a, b, c, d) = (context.clone(), context.clone(), context.clone(), context.clone());
    spec(
        context,
        "sync",
        Strategy::OneForOne,
        vec![
            Child::supervisor("links", move || links_table(&a)),
            Child::worker("links_keeper", move || (LinksActor, b.clone())),
            Child::worker("gossip", move || (GossipActor, c.clone())),
            Child::worker("beats", move || (BeatsActor, d.clone())),
        ],
    )
}

/// A witness stands for election after every server has had its turn: it would only hand leadership
/// on. Its patience with a silent leader stays that of the servers, for whom it has to vote.
#[must_use]
pub fn raft_timing(context: &Context) -> Timing {
    let timing = context.timing();
    if context.options.role.runs_groups() {
        return timing;
    }
    let last = timing.election_max.saturating_sub(Duration::from_millis(1));
    Timing { election_min: last.max(timing.election_min), ..timing }
}

fn spec(context: &Arc<Context>, name: &str, strategy: Strategy, children: Vec<Child>) -> SupervisorSpec {
    SupervisorSpec {
        name: name.into(),
        strategy,
        limit: Intensity::default(),
        children,
        clock: context.ports.clock.clone(),
        slot: None,
    }
}
