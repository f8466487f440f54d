//! What happens, for people and subscribers.

pub mod event_actor;

use std::sync::Arc;

use self::event_actor::EventActor;
use crate::{
    context::Context,
    supervise::{Child, Intensity, Strategy, SupervisorSpec},
};

/// The table.
pub fn children(context: &Arc<Context>) -> SupervisorSpec {
    let a = context.clone();
    SupervisorSpec {
        name: "events".into(),
        strategy: Strategy::OneForOne,
        limit: Intensity::default(),
        children: vec![Child::worker("event", move || (EventActor, a.clone()))],
        clock: context.ports.clock.clone(),
        slot: None,
    }
}
