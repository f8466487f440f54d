//! The cluster registry: Raft, its members, and this server's own place in it.

pub mod announce_actor;
mod door;
pub mod forge;
pub mod members_actor;
mod members_step;
pub mod network;
pub mod presence_actor;
pub mod raft_actor;
pub mod raft_node;
mod record;
pub mod register;
mod serve;
mod wanted;

use std::sync::Arc;

use self::{
    announce_actor::AnnounceActor, members_actor::MembersActor, presence_actor::PresenceActor,
    raft_actor::RaftActor,
};
use crate::{
    context::Context,
    supervise::{Child, Intensity, Strategy, SupervisorSpec},
};

/// The table: what works on Raft is restarted with it.
pub fn children(context: &Arc<Context>) -> SupervisorSpec {
    let (a, b, c, d) = (context.clone(), context.clone(), context.clone(), context.clone());
    SupervisorSpec {
        name: "registry".into(),
        strategy: Strategy::RestForOne,
        limit: Intensity::default(),
        children: vec![
            Child::worker("raft", move || (RaftActor, a.clone())),
            Child::worker("members", move || (MembersActor, b.clone())),
            Child::worker("presence", move || (PresenceActor, c.clone())),
            Child::worker("announce", move || (AnnounceActor, d.clone())),
        ],
        clock: context.ports.clock.clone(),
        slot: None,
    }
}
