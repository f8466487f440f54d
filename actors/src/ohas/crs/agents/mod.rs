//! The agents: one supervisor per role and operating-system user, each with its resources' actors.

pub mod check;
pub mod resource_actor;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use tasuki_core::ids::{GroupName, ResourceName};

use self::resource_actor::{ResourceActor, ResourceMsg};
use super::groups::group_actor::GroupMsg;
use crate::{
    context::Context,
    ports::ResourceSpec,
    supervise::{Child, Intensity, Slot, Strategy, SupervisorMsg, SupervisorSpec},
};

/// Whose agent a resource belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// What only root can do: addresses, mounts.
    Root,
    /// Programs and scripts, by the user they run as; `None` is Tasuki's own.
    Script(Option<String>),
}

impl Role {
    /// The role that a resource needs.
    #[must_use]
    pub fn of(spec: &ResourceSpec) -> Self {
        match spec {
            ResourceSpec::FloatingIp(_) | ResourceSpec::MirrorDisk(_) => Self::Root,
            ResourceSpec::Exec(exec) => Self::Script(exec.user.clone()),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("root agent"),
            Self::Script(None) => f.write_str("script agent"),
            Self::Script(Some(user)) => write!(f, "script agent of {user}"),
        }
    }
}

/// A resource on this server.
pub type ResourceKey = (GroupName, ResourceName);

/// The resource actors of one node, as group actors reach them.
#[derive(Default)]
pub struct Agents {
    supervisor: Slot<SupervisorMsg>,
    roles: Mutex<BTreeMap<Role, Slot<SupervisorMsg>>>,
    resources: Mutex<BTreeMap<ResourceKey, Resource>>,
}

#[derive(Clone)]
struct Resource {
    role: Role,
    slot: Slot<ResourceMsg>,
    group: Slot<GroupMsg>,
}

impl Agents {
    /// Makes sure that a resource has its actor. It says `AgentReady` to `group` when it is there,
    /// at every start again.
    pub fn ensure(
        &self,
        context: &Arc<Context>,
        key: &ResourceKey,
        role: Role,
        group: &Slot<GroupMsg>,
    ) -> Slot<ResourceMsg> {
        let resource = {
            let mut resources = self.resources.lock().unwrap_or_else(PoisonError::into_inner);
            let resource = Resource { role: role.clone(), slot: Slot::default(), group: group.clone() };
            resources.entry(key.clone()).or_insert(resource).clone()
        };
        let supervisor = {
            let mut roles = self.roles.lock().unwrap_or_else(PoisonError::into_inner);
            roles.entry(role.clone()).or_default().clone()
        };
        // Both are left as they are when they are there. A role that starts just now finds the
        // resource in its table.
        self.supervisor.cast(SupervisorMsg::Add(self.role_child(context, role)));
        supervisor.cast(SupervisorMsg::Add(child(context, key, &resource)));
        resource.slot
    }

    /// The actor of a resource.
    pub fn actor(&self, key: &ResourceKey) -> Option<ractor::ActorRef<ResourceMsg>> {
        self.resources.lock().unwrap_or_else(PoisonError::into_inner).get(key)?.slot.get()
    }

    /// The resource is no longer this server's.
    pub fn forget(&self, key: &ResourceKey) {
        let removed = self.resources.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        let Some(resource) = removed else { return };
        let supervisor =
            self.roles.lock().unwrap_or_else(PoisonError::into_inner).get(&resource.role).cloned();
        if let Some(supervisor) = supervisor {
            supervisor.cast(SupervisorMsg::Remove(name_of(key)));
        }
    }

    fn role_child(&self, context: &Arc<Context>, role: Role) -> Child {
        let context = context.clone();
        Child::supervisor(role.to_string(), move || role_table(&context, &role))
    }
}

fn name_of((group, resource): &ResourceKey) -> String {
    format!("resource {group}/{resource}")
}

fn child(context: &Arc<Context>, key: &ResourceKey, resource: &Resource) -> Child {
    let (context, key, resource) = (context.clone(), key.clone(), resource.clone());
    Child::worker(name_of(&key), move || {
        (ResourceActor, (context.clone(), key.clone(), resource.slot.clone(), resource.group.clone()))
    })
}

/// The table of roles.
pub fn children(context: &Arc<Context>) -> SupervisorSpec {
    let roles: Vec<Role> =
        context.agents.roles.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
    SupervisorSpec {
        name: "agents".into(),
        strategy: Strategy::OneForOne,
        limit: Intensity::default(),
        children: roles.into_iter().map(|role| context.agents.role_child(context, role)).collect(),
        clock: context.ports.clock.clone(),
        slot: Some(context.agents.supervisor.clone()),
    }
}

fn role_table(context: &Arc<Context>, role: &Role) -> SupervisorSpec {
    let agents = &context.agents;
    let resources = agents.resources.lock().unwrap_or_else(PoisonError::into_inner);
    let mine = resources.iter().filter(|(_, resource)| resource.role == *role);
    let slot =
        agents.roles.lock().unwrap_or_else(PoisonError::into_inner).entry(role.clone()).or_default().clone();
    SupervisorSpec {
        name: role.to_string(),
        strategy: Strategy::OneForOne,
        limit: Intensity::default(),
        children: mine.map(|(key, resource)| child(context, key, resource)).collect(),
        clock: context.ports.clock.clone(),
        slot: Some(slot),
    }
}
