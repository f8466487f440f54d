//! What can be wrong with a dependency as part of the whole.

use super::{Place, words};
use crate::{
    config::{Named, dependency_syntax::Side, spelling::one_of},
    ids::{ResourceName, ServerName, TypeName},
};

/// What is wrong, or doubtful, with a dependency.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphFault {
    /// No such resource.
    #[error("it depends on `{name}`, which does not exist")]
    NoResource {
        /// What stands there.
        name: ResourceName,
        /// What was probably meant.
        near: Option<ResourceName>,
        /// It is a group, with these resources.
        members: Option<Vec<ResourceName>>,
    },
    /// No such type.
    #[error("it depends on type `{name}`, which does not exist")]
    NoType {
        /// What stands there.
        name: TypeName,
        /// What was probably meant.
        near: Option<TypeName>,
    },
    /// R1 names itself.
    #[error("it depends on `{name}`, which is part of itself")]
    Itself {
        /// What stands there.
        name: ResourceName,
    },
    /// R1 waits for R2, which waits for R1.
    #[error("these wait for each other: {}", path.iter().map(|step| step.owner.to_string()).collect::<Vec<_>>().join(" for "))]
    Circle {
        /// The dependencies on the way, and the first one once more.
        path: Vec<Place>,
    },
    /// R1 and R2 should share a server, and never can.
    #[error("{}", never_together(on, *every, never, why))]
    NeverTogether {
        /// R2.
        on: Named,
        /// R1 never starts anywhere; otherwise its instances on some servers do not.
        every: bool,
        /// On which servers not.
        never: Vec<ServerName>,
        /// What keeps the two apart.
        why: String,
    },
    /// On the same server, and not on the same server.
    #[error("`{this}` and `{other}` contradict each other")]
    Contradiction {
        /// This one.
        this: String,
        /// An earlier one.
        other: String,
    },
    /// The same thing twice.
    #[error("`{this}` stands here although `{other}` does too")]
    Twice {
        /// This one.
        this: String,
        /// An earlier one.
        other: String,
    },
    /// Warning: R2 is disabled, so R1 does not start.
    #[error("it does not start while `{on}` is disabled")]
    Disabled {
        /// R2.
        on: Named,
    },
    /// Warning: nothing else is of this type.
    #[error("it depends on type `{name}`, and there is no other resource of this type")]
    NoneOfType {
        /// The type.
        name: TypeName,
    },
    /// Warning: it stops with R2 and does not start again by itself.
    #[error("when `{on}` stops it stops too, and it does not start again by itself")]
    NoReturn {
        /// R2.
        on: Named,
    },
}

fn never_together(on: &Named, every: bool, never: &[ServerName], why: &str) -> String {
    if every {
        return format!("it can never start: it must be on the same server as `{on}`, but {why}");
    }
    let servers = words(never.iter().map(ServerName::as_str));
    format!(
        "its instances on {servers} can never start: they must be on the same server as `{on}`, but {why}"
    )
}

impl GraphFault {
    /// Whether the configuration can be used all the same.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        matches!(self, Self::Disabled { .. } | Self::NoneOfType { .. } | Self::NoReturn { .. })
    }

    /// What could stand there.
    #[must_use]
    pub fn expected(&self) -> String {
        match self {
            Self::NoResource { members: Some(members), .. } if !members.is_empty() => {
                format!("a resource: {}", one_of(members.iter().map(ResourceName::as_str)))
            }
            Self::NoResource { .. } => "the name of a resource".to_owned(),
            Self::NoType { .. } => "the name of a type".to_owned(),
            Self::Itself { .. } => "a resource outside it".to_owned(),
            Self::Circle { path } if path.first().is_some_and(|step| step.side == Side::Stop) => {
                "an order in which they can stop".to_owned()
            }
            Self::Circle { .. } => "an order in which they can start".to_owned(),
            Self::NeverTogether { .. } => "at least one server on which both can run".to_owned(),
            Self::Contradiction { .. } => "one or the other".to_owned(),
            Self::Twice { .. } => "each dependency once".to_owned(),
            Self::Disabled { .. } => "something that can start".to_owned(),
            Self::NoneOfType { .. } => "a type that some resource has".to_owned(),
            Self::NoReturn { on } => format!("`pullup({on})` among its start dependencies"),
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::NoResource { members: Some(_), name, .. } => {
                format!("`{name}` is a group: name one of its resources")
            }
            Self::NoResource { near: Some(near), .. } => format!("did you mean `{near}`?"),
            Self::NoType { near: Some(near), .. } => format!("did you mean `{near}`?"),
            Self::NoResource { .. } => "add that resource, or take the dependency out".to_owned(),
            Self::NoType { .. } => "add that type, or take the dependency out".to_owned(),
            Self::Itself { .. } => "take it out; order inside a group is said with `depends_on`".to_owned(),
            Self::Circle { .. } => "take one of these dependencies out".to_owned(),
            Self::NeverTogether { every: true, .. } => {
                "let both run on one server, or write `global:` if any server will do".to_owned()
            }
            Self::NeverTogether { .. } => {
                "let it run on these servers too, or write `global:` if any server will do".to_owned()
            }
            Self::Contradiction { .. } | Self::Twice { .. } => "take one of the two out".to_owned(),
            Self::Disabled { on } => format!("enable `{on}` when it should start"),
            Self::NoneOfType { .. } => "add a resource of this type, or take the dependency out".to_owned(),
            Self::NoReturn { on } => format!("add `pullup({on})` to its start dependencies if it should"),
        }
    }
}
