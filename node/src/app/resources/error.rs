//! What can be wrong with an intention about resources, types or pools, beside what the registry
//! refuses: the codes from `TSK-1700` on.

use tasuki_core::ids::{GroupName, ResourceName, ServerName};

use crate::app::error::Exit;

/// Why an intention about a resource, a type or a pool was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    /// No such resource.
    #[error("no resource is called {name}{}", meant(.nearest))]
    NoSuchResource {
        /// As it was asked for.
        name: String,
        /// What is called nearly so.
        nearest: Option<String>,
    },
    /// No such type.
    #[error("no resource type is called {name}{}", meant(.nearest))]
    NoSuchType {
        /// As it was asked for.
        name: String,
        /// What is called nearly so.
        nearest: Option<String>,
    },
    /// No such pool.
    #[error("no server pool is called {name}{}", meant(.nearest))]
    NoSuchPool {
        /// As it was asked for.
        name: String,
        /// What is called nearly so.
        nearest: Option<String>,
    },
    /// It is not a resource of its own.
    #[error("resource {resource} is a member of group {group}, which starts, stops and moves as one")]
    MemberOf {
        /// Which.
        resource: ResourceName,
        /// The group to act on.
        group: GroupName,
    },
    /// All that there is runs.
    #[error("every instance of {0} that could be meant runs already")]
    NothingToStart(ResourceName),
    /// Nothing of it runs.
    #[error("no instance of {0} that could be meant runs, or is wanted online")]
    NothingToStop(ResourceName),
    /// More than one instance could be moved.
    #[error("{resource} runs on {}; one instance moves at a time", listed(.servers))]
    WhichInstance {
        /// Which resource.
        resource: ResourceName,
        /// Where it runs.
        servers: Vec<ServerName>,
    },
    /// Nothing of it is, or could be, on that server.
    #[error("no instance of {resource} is on {server}, or belongs there")]
    NotOn {
        /// Which resource.
        resource: ResourceName,
        /// Where not.
        server: ServerName,
    },
    /// It is on every server, or bound to its servers.
    #[error("{0} has one instance bound to each of its servers, and none of them can be elsewhere")]
    Bound(ResourceName),
    /// Types and pools that are part of Tasuki.
    #[error("{0} is built in: it can be neither changed nor taken out")]
    BuiltIn(String),
    /// Some instances, but not all.
    #[error("{} of {resource} accepted, then {unit} was not: {because}", plural(*.done))]
    Partly {
        /// Which resource.
        resource: ResourceName,
        /// How many instances were accepted.
        done: usize,
        /// Which one was not.
        unit: GroupName,
        /// Why not.
        because: String,
    },
}

fn meant(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or_else(String::new, |word| format!("; did you mean {word}?"))
}

fn listed(servers: &[ServerName]) -> String {
    servers.iter().map(ServerName::as_str).collect::<Vec<_>>().join(", ")
}

fn plural(n: usize) -> String {
    if n == 1 { "1 instance".to_owned() } else { format!("{n} instances") }
}

impl ResourceError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoSuchResource { .. } => "TSK-1700",
            Self::NoSuchType { .. } => "TSK-1701",
            Self::NoSuchPool { .. } => "TSK-1702",
            Self::MemberOf { .. } => "TSK-1703",
            Self::NothingToStart(_) => "TSK-1704",
            Self::NothingToStop(_) => "TSK-1705",
            Self::WhichInstance { .. } => "TSK-1706",
            Self::NotOn { .. } => "TSK-1707",
            Self::Bound(_) => "TSK-1708",
            Self::BuiltIn(_) => "TSK-1709",
            Self::Partly { .. } => "TSK-1710",
        }
    }

    /// How the command line ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::NoSuchResource { .. } | Self::NoSuchType { .. } | Self::NoSuchPool { .. } => Exit::NotFound,
            Self::WhichInstance { .. } => Exit::Usage,
            Self::MemberOf { .. }
            | Self::NothingToStart(_)
            | Self::NothingToStop(_)
            | Self::NotOn { .. }
            | Self::Bound(_)
            | Self::BuiltIn(_) => Exit::Refused,
            Self::Partly { .. } => Exit::Failed,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NoSuchResource { .. } => "`tasuki resource status` shows the resources",
            Self::NoSuchType { .. } => "`tasuki type list` shows the types",
            Self::NoSuchPool { .. } => "`tasuki pool status` shows the server pools",
            Self::MemberOf { .. } => {
                "act on the group with `tasuki group`; its members are changed in the file, by `config push`"
            }
            Self::NothingToStart(_) => "nothing to do; `tasuki resource status` shows where it runs",
            Self::NothingToStop(_) => "nothing to do; `tasuki resource status` shows its instances",
            Self::WhichInstance { .. } => "say --from SERVER",
            Self::NotOn { .. } => "`tasuki resource status NAME` shows where its instances are",
            Self::Bound(_) => "stop it there with `tasuki resource stop NAME --on SERVER`",
            Self::BuiltIn(_) => "make one of your own with another name",
            Self::Partly { .. } => {
                "`tasuki resource status NAME` shows how far it is; put right what is said and try again"
            }
        }
    }
}
