//! Resources that stand for themselves, outside every failover group.
//!
//! A definition makes *instances*: a cluster resource as many as its cardinality says, a local
//! resource one on every server. An instance runs as a group of one that is made by itself
//! ([`super::instances`]), so ownership, epochs, recovery and reports are those of groups.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Automatic, Placement, ResourceConfig, StartDependency, Startup, StopDependency, Value};
use crate::ids::{PoolName, ResourceName, ServerName, TypeName};

/// One resource outside every group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceDefinition {
    /// The type as it was given.
    pub type_name: TypeName,
    /// What it is, with its recovery rules.
    pub resource: ResourceConfig,
    /// The attributes that its type adds, with their defaults filled in.
    pub attributes: BTreeMap<String, Value>,
    /// On every server, or a number of instances.
    pub cardinality: Cardinality,
    /// How servers are chosen: PLACEMENT.
    pub placement: PlacementPolicy,
    /// The servers that PLACEMENT speaks of, best first: HOSTING_MEMBERS.
    pub hosting_members: Vec<ServerName>,
    /// Only servers in these pools: SERVER_POOLS. Empty means any.
    pub server_pools: Vec<PoolName>,
    /// How much of a server one instance takes: LOAD.
    pub load: u32,
    /// Whether it starts with the cluster or the server: AUTO_START.
    pub auto_start: Startup,
    /// Whether anything may start it: ENABLED.
    pub enabled: bool,
    /// Whether it goes elsewhere by itself after a failure.
    pub failover: Automatic,
    /// Whether it goes back to a better server by itself.
    pub failback: Automatic,
    /// What it asks of others to start: START_DEPENDENCIES.
    pub start: Vec<StartDependency>,
    /// What stops it: STOP_DEPENDENCIES.
    pub stop: Vec<StopDependency>,
}

/// How many instances there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cardinality {
    /// This many, wherever PLACEMENT puts them.
    Number(u32),
    /// One on every server that its pools and its list allow: a uniform service.
    Uniform,
    /// One on every server: a local resource.
    Local,
}

/// PLACEMENT of a cluster resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlacementPolicy {
    /// On the server with the least LOAD.
    #[default]
    Balanced,
    /// On HOSTING_MEMBERS in their order, then on others.
    Favored,
    /// On HOSTING_MEMBERS only.
    Restricted,
}

impl PlacementPolicy {
    /// How one server is chosen among those that are allowed.
    #[must_use]
    pub fn choice(self) -> Placement {
        match self {
            Self::Balanced => Placement::Balanced,
            Self::Favored | Self::Restricted => Placement::Ordered,
        }
    }
}

/// Which instance of which resource a group of one is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceOf {
    /// The resource.
    pub resource: ResourceName,
    /// Its number, from 1: CARDINALITY_ID. Of a local or uniform resource: the server's number.
    pub number: u32,
    /// The only server that it may run on: local and uniform resources.
    pub bound: Option<ServerName>,
    /// It is an instance of a local resource, which pools do not touch.
    pub local: bool,
}
