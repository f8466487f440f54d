//! The high-availability services: the root of the tree.

pub mod crs;
pub mod events;
pub mod mirrors;
pub mod profile_actor;
pub mod registry;
pub mod sync;
pub mod sync_monitor_actor;
pub mod witness;

use std::sync::Arc;

use self::{mirrors::MirrorsActor, profile_actor::ProfileActor, sync_monitor_actor::SyncMonitorActor};
use crate::{
    context::Context,
    supervise::{Child, Intensity, Strategy, SupervisorSpec},
};

/// The table, in order of start. One for one: a bug in the control plane must not become an
/// outage. When the limit is exceeded the node ends, and the guard starts a new incarnation.
pub fn children(context: &Arc<Context>) -> SupervisorSpec {
    if !context.options.role.runs_groups() {
        return witness::children(context);
    }
    let (a, b, c, d, e) =
        (context.clone(), context.clone(), context.clone(), context.clone(), context.clone());
    let (f, g, h) = (context.clone(), context.clone(), context.clone());
    SupervisorSpec {
        name: "ohas".into(),
        strategy: Strategy::OneForOne,
        limit: Intensity::default(),
        children: vec![
            Child::supervisor("events", move || events::children(&a)),
            Child::supervisor("registry", move || registry::children(&b)),
            Child::worker("profile", move || (ProfileActor, f.clone())),
            Child::supervisor("sync", move || sync::children(&c)),
            Child::worker("sync_monitor", move || (SyncMonitorActor, d.clone())),
            // Before the resource services, which use them: they end after those.
            Child::supervisor("mirrors", move || mirrors::children(&g)),
            Child::worker("mirrors_keeper", move || (MirrorsActor, h.clone())),
            Child::supervisor("crs", move || crs::children(&e)),
        ],
        clock: context.ports.clock.clone(),
        slot: None,
    }
}
