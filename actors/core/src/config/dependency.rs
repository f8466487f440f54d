//! What a resource asks of others: start and stop dependencies, with all their modifiers.
//!
//! The words and their meaning are those of the reference (`hard(intermediate:global:db)`); what
//! each modifier means, and what its absence means, stands at the fields. R1 is the resource that
//! has the dependency, R2 the one that it names.

use serde::{Deserialize, Serialize};

use crate::ids::{ResourceName, TypeName};

/// What a dependency names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Named {
    /// One resource.
    Resource(ResourceName),
    /// Every resource of a type, or of one that inherits from it.
    Type(TypeName),
}

/// One start dependency.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StartDependency {
    /// R2.
    pub on: Named,
    /// What is asked of it.
    pub kind: StartKind,
}

/// The kinds of start dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum StartKind {
    /// R2 must be up before R1 starts.
    Hard {
        /// R2 ONLINE or INTERMEDIATE is enough; otherwise it must be ONLINE.
        intermediate: bool,
        /// R2 on any server is enough; otherwise R1 must be on R2's server.
        global: bool,
    },
    /// R2 is started too, but R1 starts whatever R2's state.
    Weak {
        /// R1 does not wait for R2's start; otherwise it starts after R2 has started.
        concurrent: bool,
        /// R1 need not be on R2's server; otherwise it is placed there.
        global: bool,
        /// R2 is started on every server where it can run; otherwise on R1's server.
        uniform: bool,
    },
    /// R1 tries to start where R2 is.
    Attraction {
        /// Where R2 is ONLINE or INTERMEDIATE; otherwise where it is ONLINE.
        intermediate: bool,
    },
    /// R1 starts by itself once R2 has started.
    Pullup {
        /// Whatever R1's TARGET; otherwise only if it is ONLINE.
        always: bool,
        /// R2 ONLINE or INTERMEDIATE; otherwise ONLINE.
        intermediate: bool,
        /// R2 on any server; otherwise R1 must be on R2's server.
        global: bool,
    },
    /// R1 avoids R2's server.
    Dispersion {
        /// When both share a server, R1 is placed anew when a server joins; otherwise it stays.
        active: bool,
        /// Avoids servers where R2 is ONLINE or INTERMEDIATE; otherwise where it is ONLINE.
        intermediate: bool,
    },
}

/// One stop dependency: when R2 stops, R1 stops. `hard` is the only kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StopDependency {
    /// R2.
    pub on: Named,
    /// R1 stays up while R2 is ONLINE or INTERMEDIATE; otherwise R2 must be ONLINE.
    pub intermediate: bool,
    /// R1 stays up while R2 runs on any server; otherwise it stops when R2 stops on its server.
    pub global: bool,
    /// Applies only when the stack of a server or of the cluster is stopped; otherwise always.
    pub shutdown: bool,
}
