//! The resource services: placement (on the leader), the groups that this server owns, the agents
//! that run their resources, and the monitors that look at them.

pub mod agents;
pub mod groups;
pub mod monitors;
pub mod placement_actor;

use std::sync::Arc;

use self::{groups::GroupsActor, monitors::MonitorsActor, placement_actor::PlacementActor};
use crate::{
    context::Context,
    supervise::{Child, Intensity, Strategy, SupervisorSpec},
};

/// The table.
pub fn children(context: &Arc<Context>) -> SupervisorSpec {
    let (a, b, c, d) = (context.clone(), context.clone(), context.clone(), context.clone());
    let (e, f) = (context.clone(), context.clone());
    SupervisorSpec {
        name: "crs".into(),
        strategy: Strategy::OneForOne,
        limit: Intensity::default(),
        children: vec![
            Child::worker("placement", move || (PlacementActor, a.clone())),
            Child::supervisor("agents", move || agents::children(&b)),
            Child::supervisor("groups", move || groups::children(&c)),
            Child::worker("groups_keeper", move || (GroupsActor, d.clone())),
            Child::supervisor("monitors", move || monitors::children(&e)),
            Child::worker("monitors_keeper", move || (MonitorsActor, f.clone())),
        ],
        clock: context.ports.clock.clone(),
        slot: None,
    }
}
