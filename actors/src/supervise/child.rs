//! One row of a supervisor's table.

use std::{future::Future, pin::Pin, sync::Arc};

use ractor::{Actor, ActorCell, ActorRef, SpawnErr};

use super::{Supervisor, SupervisorMsg, SupervisorSpec};

type StartFuture = Pin<Box<dyn Future<Output = Result<Started, SpawnErr>> + Send>>;

/// A child that has started.
pub struct Started {
    /// The actor.
    pub cell: ActorCell,
    /// Its mailbox, when it is a supervisor itself.
    pub supervisor: Option<ActorRef<SupervisorMsg>>,
}

/// A child: its name in the tree, and how it is started (again).
#[derive(Clone)]
pub struct Child {
    /// Its name within its supervisor.
    pub name: String,
    pub(super) start: Arc<dyn Fn(ActorCell) -> StartFuture + Send + Sync>,
}

impl Child {
    /// A worker. `make` builds the actor and its arguments, at every start anew.
    pub fn worker<A, F>(name: impl Into<String>, make: F) -> Self
    where
        A: Actor,
        F: Fn() -> (A, A::Arguments) + Send + Sync + 'static,
    {
        let start = move |parent: ActorCell| -> StartFuture {
            let (actor, arguments) = make();
            Box::pin(async move {
                let (actor, _) = Actor::spawn_linked(None, actor, arguments, parent).await?;
                Ok(Started { cell: actor.get_cell(), supervisor: None })
            })
        };
        Self { name: name.into(), start: Arc::new(start) }
    }

    /// A supervisor with a table of its own.
    pub fn supervisor<F>(name: impl Into<String>, make: F) -> Self
    where
        F: Fn() -> SupervisorSpec + Send + Sync + 'static,
    {
        let start = move |parent: ActorCell| -> StartFuture {
            let spec = make();
            Box::pin(async move {
                let (actor, _) = Actor::spawn_linked(None, Supervisor, spec, parent).await?;
                Ok(Started { cell: actor.get_cell(), supervisor: Some(actor) })
            })
        };
        Self { name: name.into(), start: Arc::new(start) }
    }
}
