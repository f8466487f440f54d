//! The registry's hierarchical keys.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::ids::{GroupName, MonitorName, PoolName, ResourceName, ServerName, TypeName, VolumeName};

/// Names one object of the registry. Written as a path: `groups/web/ownership`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Key {
    /// `cluster/settings`: wishes for the cluster as a whole.
    Settings,
    /// `cluster/mode`: running, suspended or shutting down.
    Mode,
    /// `cluster/config`: the configuration as a whole, for what is computed from all of it.
    Configuration,
    /// `cluster/level`: how much of the registry's vocabulary is in use.
    Level,
    /// `servers/NAME/config`
    ServerConfig(ServerName),
    /// `servers/NAME/presence`: incarnation, boot, whether it is up.
    Presence(ServerName),
    /// `servers/NAME/fencing`: its last fencing.
    Fencing(ServerName),
    /// `cluster/tie_break`: what was committed of the tie-break record.
    TieBreak,
    /// `groups/NAME/config`
    GroupConfig(GroupName),
    /// `groups/NAME/target`: wanted online or offline.
    Target(GroupName),
    /// `groups/NAME/ownership`: who runs it, under which epoch.
    Ownership(GroupName),
    /// `groups/NAME/report`: what its owner saw last.
    Report(GroupName),
    /// `groups/NAME/failures`: what the recovery ladder counts.
    Failures(GroupName),
    /// `groups/NAME/facts`: what is remembered of its resources' starts and stops.
    Facts(GroupName),
    /// `types/NAME`: a resource type that a user added.
    Type(TypeName),
    /// `pools/NAME`: a server pool.
    Pool(PoolName),
    /// `cluster/pools`: which server is in which pool.
    PoolMembers,
    /// `resources/NAME`: a resource outside every group.
    Definition(ResourceName),
    /// `monitors/NAME/config`
    MonitorConfig(MonitorName),
    /// `monitors/NAME/reports`: what the servers found.
    MonitorReports(MonitorName),
    /// `volumes/NAME`: epoch, owner and good copies of a mirrored volume.
    Volume(VolumeName),
    /// `tokens/ID`: a one-time token for a server that wants to join.
    Token(String),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings => f.write_str("cluster/settings"),
            Self::Mode => f.write_str("cluster/mode"),
            Self::Configuration => f.write_str("cluster/config"),
            Self::Level => f.write_str("cluster/level"),
            Self::ServerConfig(server) => write!(f, "servers/{server}/config"),
            Self::Presence(server) => write!(f, "servers/{server}/presence"),
            Self::Fencing(server) => write!(f, "servers/{server}/fencing"),
            Self::TieBreak => f.write_str("cluster/tie_break"),
            Self::GroupConfig(group) => write!(f, "groups/{group}/config"),
            Self::Target(group) => write!(f, "groups/{group}/target"),
            Self::Ownership(group) => write!(f, "groups/{group}/ownership"),
            Self::Report(group) => write!(f, "groups/{group}/report"),
            Self::Failures(group) => write!(f, "groups/{group}/failures"),
            Self::Facts(group) => write!(f, "groups/{group}/facts"),
            Self::Type(name) => write!(f, "types/{name}"),
            Self::Pool(pool) => write!(f, "pools/{pool}"),
            Self::PoolMembers => f.write_str("cluster/pools"),
            Self::Definition(resource) => write!(f, "resources/{resource}"),
            Self::MonitorConfig(monitor) => write!(f, "monitors/{monitor}/config"),
            Self::MonitorReports(monitor) => write!(f, "monitors/{monitor}/reports"),
            Self::Volume(name) => write!(f, "volumes/{name}"),
            Self::Token(id) => write!(f, "tokens/{id}"),
        }
    }
}

/// A path that names nothing in the registry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names no registry key; keys look like cluster/settings, cluster/mode, \
     cluster/config, cluster/level, cluster/pools, cluster/tie_break, servers/NAME/{{config,presence,fencing}}, \
     groups/NAME/{{config,target,ownership,report,failures,facts}}, types/NAME, pools/NAME, \
     resources/NAME, monitors/NAME/{{config,reports}}, volumes/NAME or tokens/ID"
)]
pub struct UnknownKey(pub String);

impl FromStr for Key {
    type Err = UnknownKey;

    fn from_str(path: &str) -> Result<Self, UnknownKey> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        Ok(match parts[..] {
            ["cluster", "settings"] => Self::Settings,
            ["cluster", "mode"] => Self::Mode,
            ["cluster", "config"] => Self::Configuration,
            ["cluster", "level"] => Self::Level,
            ["servers", name, "config"] => Self::ServerConfig(name.into()),
            ["servers", name, "presence"] => Self::Presence(name.into()),
            ["servers", name, "fencing"] => Self::Fencing(name.into()),
            ["cluster", "tie_break"] => Self::TieBreak,
            ["groups", name, "config"] => Self::GroupConfig(name.into()),
            ["groups", name, "target"] => Self::Target(name.into()),
            ["groups", name, "ownership"] => Self::Ownership(name.into()),
            ["groups", name, "report"] => Self::Report(name.into()),
            ["groups", name, "failures"] => Self::Failures(name.into()),
            ["groups", name, "facts"] => Self::Facts(name.into()),
            ["types", name] => Self::Type(name.into()),
            ["pools", name] => Self::Pool(name.into()),
            ["cluster", "pools"] => Self::PoolMembers,
            ["resources", name] => Self::Definition(name.into()),
            ["monitors", name, "config"] => Self::MonitorConfig(name.into()),
            ["monitors", name, "reports"] => Self::MonitorReports(name.into()),
            ["volumes", name] => Self::Volume(name.into()),
            ["tokens", id] => Self::Token(id.to_owned()),
            _ => return Err(UnknownKey(path.to_owned())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_reads_back_from_its_path() {
        let group = || GroupName::from("web");
        for key in [
            Key::Settings,
            Key::Mode,
            Key::Configuration,
            Key::Level,
            Key::ServerConfig("kiki".into()),
            Key::Presence("kiki".into()),
            Key::GroupConfig(group()),
            Key::Target(group()),
            Key::Ownership(group()),
            Key::Report(group()),
            Key::Failures(group()),
            Key::Facts(group()),
            Key::Type("webapp".into()),
            Key::Pool("front".into()),
            Key::PoolMembers,
            Key::Definition("db".into()),
            Key::MonitorConfig("ping".into()),
            Key::MonitorReports("ping".into()),
            Key::Volume("data".into()),
            Key::Token("t1".into()),
        ] {
            assert_eq!(key.to_string().parse(), Ok(key));
        }
        assert!("groups/web".parse::<Key>().is_err());
    }
}
