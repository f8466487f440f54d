//! Names and numbers with one meaning each. Mixing two of them up does not compile.
//!
//! Names are shared text: the registry is copied at each change, and most of it is names.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps a name that has been checked, or that comes from the registry.
            pub fn new(name: impl Into<Arc<str>>) -> Self {
                Self(name.into())
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self(name.into())
            }
        }
    };
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The number that follows.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

name!(
    /// A member machine. The name stays for life.
    ServerName
);
name!(
    /// A failover group: the unit that moves.
    GroupName
);
name!(
    /// A resource: one managed thing inside a group.
    ResourceName
);
name!(
    /// A fencing device.
    FenceName
);
name!(
    /// A mirrored volume: one device kept on several servers. Called like the resource that uses it.
    VolumeName
);
name!(
    /// A resource type.
    TypeName
);
name!(
    /// A server pool.
    PoolName
);
name!(
    /// A monitor: what looks at something again and again.
    MonitorName
);
name!(
    /// A network: a name for one subnet that servers share.
    NetworkName
);
name!(
    /// One boot of one machine, as its kernel names it. A new boot id proves that nothing of the
    /// boot before still runs.
    BootId
);
name!(
    /// The history a registry belongs to. Two registries of different lineage never mix, even
    /// when their clusters have the same name (safety rule R24).
    Lineage
);

number!(
    /// A Raft voter or learner. A server whose store was lost comes back under a new one (R23).
    RaftId
);
number!(
    /// Grows whenever a volume goes on without one of its copies: which lineage its data is of.
    Generation
);
number!(
    /// Counts the starts of one server's node. A restarted node is a new incarnation.
    Incarnation
);
number!(
    /// Grows whenever the ownership of a group changes. What carries an older one is refused.
    Epoch
);
number!(
    /// Counts the accepted changes of the registry.
    Revision
);
number!(
    /// A Raft term.
    Term
);

/// Names one proposal to the registry, drawn at random by its proposer. Written in hexadecimal: not
/// every format has numbers of this length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ProposalId(pub u128);

impl From<ProposalId> for String {
    fn from(id: ProposalId) -> Self {
        format!("{:032x}", id.0)
    }
}

impl TryFrom<String> for ProposalId {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        u128::from_str_radix(&text, 16).map(Self)
    }
}
